"""Benchmarks of the usage ledger."""
