"""Compliance reports: who did what with a tenant's data, where it went, and how it is kept."""
