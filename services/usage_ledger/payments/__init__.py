"""Payments that the billing reports: what they do to the credits of tenants."""
