"""Compares usage with what providers say themselves."""
