"""Which budgets an attempt counts in, and their windows of time; the same for the ledger and the router. Pure."""
