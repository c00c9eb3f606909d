"""Latencies: sketches that the health monitor and the ledger count them in. Pure."""
