"""Spans for tests about traces."""
