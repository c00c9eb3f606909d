"""Stripe: its client, incoming webhooks, and payments as they become credits."""
