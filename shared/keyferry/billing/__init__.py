"""What a tenant is charged for an attempt: the plan as data, and exact arithmetic on it."""
