"""Waterfalls: the spans of a trace as rows from left to right in time. Pure."""
