"""Limits of tenants and client tokens, exact over any number of routers."""
