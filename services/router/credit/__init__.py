"""Leases of spendable accounts, of which the router sets shares aside for attempts."""
