"""Alerts: their rules, the figures that these watch, their evaluation and history."""
