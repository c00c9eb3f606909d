"""Monthly statements of tenants: their months, their credits, their usage, and what reconciles the two."""
