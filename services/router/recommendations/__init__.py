"""What would make a tenant's traffic cheaper, from its past requests."""
