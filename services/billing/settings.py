"""Settings of the billing."""

from keyferry.runtime.process.settings import DatabaseSettings


class BillingSettings(DatabaseSettings):
    """Settings of a billing process."""
