"""Budgets: their terms, what is spent of them, and the accounts of their windows."""
