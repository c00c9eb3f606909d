"""Scheduled reports of usage."""
