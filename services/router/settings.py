"""Settings of the router."""

from pydantic import Field

from keyferry.runtime.settings import DatabaseSettings


class RouterSettings(DatabaseSettings):
    """What the router needs. The database holds what tenants configure; no request waits for it."""

    decision_capacity: int = Field(default=50_000, ge=1)
    """Decision records held in memory while the bus cannot store them."""
