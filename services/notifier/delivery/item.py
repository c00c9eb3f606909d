"""What is in the queue: a delivery as it is added, and as it is claimed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

OWNERS = "owners:"
"""Before a tenant, the target that is its owners' e-mail addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """One event for one target. It is added once for each event and target, unless it is a replay."""

    tenant: str
    target_id: str
    event_id: str
    event_type: str
    payload: str
    """JSON: the body of a webhook, or the alert that a channel shows."""
    order_key: str | None = None
    """Deliveries to a target with the same key are made one after the other, by `sequence`."""
    sequence: int | None = None
    critical: bool = False
    """Whether quiet hours do not hold it back."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this process makes now; nobody else does until the claim runs out."""

    delivery_id: str
    tenant: str
    target_id: str
    event_id: str
    event_type: str
    payload: str
    critical: bool
    attempts: int
    """This one included."""
    created_at: datetime

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> "ClaimedDelivery":
        """Return the delivery of a row."""
        return cls(**{name: row[name] for name in cls.__slots__})


def owners_of(tenant: str) -> str:
    """Return the target that is a tenant's owners."""
    return f"{OWNERS}{tenant}"
