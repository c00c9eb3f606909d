"""What a tenant's credits mean for people: how long they last, and whether they are low. Pure."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

from keyferry.contracts.credit_management import CreditState

DEFAULT_LOW_BELOW_MICRO_USD = 1_000_000
"""A dollar, or a thousand credits."""
RATE_DAYS = 7
MAX_DAYS_LEFT = 9999


def estimate_days_left(balance: int, spent_by_day: Mapping[date, int], now: datetime) -> int | None:
    """Return for how many whole days a balance lasts at the mean rate of the last RATE_DAYS days and today (UTC).

    The mean is over the time since the first spending among these days. None if that is less than a day ago or there is none.
    """
    today = now.astimezone(UTC).date()
    recent = {day: spent for day, spent in spent_by_day.items() if day >= today - timedelta(days=RATE_DAYS) and spent}
    if not recent:
        return None
    elapsed = now - datetime.combine(min(recent), time(), UTC)
    if elapsed < timedelta(days=1):
        return None
    days = max(0, balance) * (elapsed // timedelta(seconds=1)) // (sum(recent.values()) * 86400)
    return min(days, MAX_DAYS_LEFT)


def choose_state(balance: int, available: int, low_below: int, *, has_account: bool) -> CreditState:
    """Return the state of a tenant's credits."""
    if not has_account:
        return CreditState.NONE
    if available <= 0:
        return CreditState.EMPTY
    return CreditState.LOW if balance <= low_below else CreditState.OK
