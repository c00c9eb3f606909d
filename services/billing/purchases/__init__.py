"""Buying credits and tiers: packages, Checkout, automatic top-ups, subscriptions."""
