"""How a payment is booked in Lago. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from keyferry.contracts.money import plain

MARK = "keyferry_payment"
"""The name of the metadata by which a payment is found again: Lago books a purchase as often as it is asked to."""
CREDITS_PER_USD = 1000
_CENTS = 100


class BookingState(StrEnum):
    """How far a payment is in Lago."""

    PENDING = "pending"
    BOOKED = "booked"
    """It is in the wallet; its invoice is not marked as paid yet."""
    DONE = "done"
    SKIPPED = "skipped"
    """The tenant has no customer in Lago."""
    REFUSED = "refused"
    """Lago does not take it: `detail` says why."""


class BookingKind(StrEnum):
    """What happens to the wallet."""

    PURCHASE = "purchase"
    TAKEN_BACK = "taken_back"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Booking:
    """One change of a tenant's wallet."""

    booking_id: str
    tenant: str
    kind: BookingKind
    credits: Decimal
    """Above 0."""
    amount_minor: int
    currency: str
    paid_at: datetime
    state: BookingState = BookingState.PENDING
    attempts: int = 0


def to_transaction(booking: Booking, wallet_id: str) -> dict[str, Any]:
    """Return the wallet transaction of a booking. What was paid is invoiced; a bonus is granted beside it.

    The wallet counts dollars. What was paid in another currency is invoiced at the value of the credits.
    """
    value = booking.credits / CREDITS_PER_USD
    transaction: dict[str, Any] = {
        "wallet_id": wallet_id,
        "name": "Credits",
        "metadata": [{"key": MARK, "value": booking.booking_id}],
    }
    if booking.kind is BookingKind.TAKEN_BACK:
        return transaction | {"voided_credits": plain(value)}
    if booking.kind is BookingKind.RETURNED:
        return transaction | {"granted_credits": plain(value)}
    paid = min(value, Decimal(booking.amount_minor) / _CENTS) if booking.currency == "usd" else value
    transaction |= {"paid_credits": plain(paid), "ignore_paid_top_up_limits": True}
    return transaction | ({"granted_credits": plain(value - paid)} if value > paid else {})


def find_booked(transactions: Sequence[Mapping[str, Any]], booking_id: str) -> list[Mapping[str, Any]]:
    """Return the transactions of a booking, those with an invoice first."""
    mark = {"key": MARK, "value": booking_id}
    found = [each for each in transactions if mark in (each.get("metadata") or [])]
    return sorted(found, key=lambda each: each.get("lago_invoice_id") is None)
