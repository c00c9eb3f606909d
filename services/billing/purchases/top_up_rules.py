"""When an automatic top-up charges, how much a month may take, and what a failed payment leads to. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from keyferry.contracts.zone import is_zone

RETRY_AFTER = (timedelta(minutes=15), timedelta(hours=4), timedelta(hours=24))
"""When a declined payment is tried again; after the last one the top-up is paused."""
_NEVER_AGAIN = {
    "authentication_required": "the bank wants its customer to confirm the payment (3-D Secure), which nobody can do for you",
    "expired_card": "the card has expired",
    "lost_card": "the bank does not accept the card any more",
    "stolen_card": "the bank does not accept the card any more",
    "pickup_card": "the bank does not accept the card any more",
    "restricted_card": "the bank does not accept the card any more",
    "invalid_account": "the bank does not know the account any more",
    "card_not_supported": "the card does not allow such payments",
    "resource_missing": "the saved payment method does not exist any more",
    "payment_method_unavailable": "the saved payment method cannot be used any more",
}
"""Reasons that the same payment method cannot overcome, with their explanation."""
_RESUME = "Buy credits once and save a payment method that works, then resume automatic top-ups"


@dataclass(frozen=True, slots=True)
class MonthWindow:
    """A calendar month in a time zone, from its first moment up to the first moment of the next, in UTC."""

    start: datetime
    end: datetime


def month_window(zone: str, now: datetime) -> MonthWindow:
    """Return the calendar month of `now` in a zone; in UTC where the zone is unknown.

    A month that begins or ends on a day with a clock change is as long as it is.
    """
    local_zone = ZoneInfo(zone if is_zone(zone) else "UTC")
    local = now.astimezone(local_zone)
    first = datetime(local.year, local.month, 1, tzinfo=local_zone)
    following = datetime(local.year + local.month // 12, local.month % 12 + 1, 1, tzinfo=local_zone)
    return MonthWindow(first.astimezone(UTC), following.astimezone(UTC))


class TopUpDecision(StrEnum):
    """What a check of a tenant's credits leads to."""

    ENOUGH = "enough"
    CHARGE = "charge"
    CEILING_REACHED = "ceiling_reached"


def decide(
    *, available_micro_usd: int, threshold_micro_usd: int, spent_cents: int, amount_cents: int, ceiling_cents: int
) -> TopUpDecision:
    """Return whether to charge. `spent_cents` counts every payment of the month that was or may yet be charged."""
    if available_micro_usd > threshold_micro_usd:
        return TopUpDecision.ENOUGH
    if spent_cents + amount_cents > ceiling_cents:
        return TopUpDecision.CEILING_REACHED
    return TopUpDecision.CHARGE


@dataclass(frozen=True, slots=True)
class FailedCharge:
    """What a failed payment leads to: another try at `retry_at`, or a pause if that is None."""

    failures: int
    retry_at: datetime | None
    reason: str


def after_failure(code: str, decline_code: str | None, failures: int, now: datetime) -> FailedCharge:
    """Return what follows when a payment failed with Stripe's codes; `failures` are those before this one."""
    for each in (decline_code, code):
        if each in _NEVER_AGAIN:
            return FailedCharge(failures + 1, None, f"The payment failed: {_NEVER_AGAIN[each]}. {_RESUME}.")
    shown = decline_code or code or "no reason given"
    if failures < len(RETRY_AFTER):
        at = now + RETRY_AFTER[failures]
        return FailedCharge(failures + 1, at, f"The payment failed ({shown}), and is tried again.")
    return FailedCharge(failures + 1, None, f"The payment failed {failures + 1} times ({shown}). {_RESUME}.")
