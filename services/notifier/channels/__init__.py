"""Channels: how people are notified, and when."""
