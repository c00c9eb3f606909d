"""Traces for people: which stored spans belong to a tenant's request, and why there are none."""
