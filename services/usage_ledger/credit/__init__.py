"""Leases of spendable accounts to routers, their settlement by the records of attempts, and their release."""
