"""Counting good and bad events in the processes that answer people, and reporting them to the usage ledger."""
