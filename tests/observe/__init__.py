"""Tests that need Prometheus itself: `make test-observe`."""
