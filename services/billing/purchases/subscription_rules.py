"""What a subscription at Stripe means for the tier of its tenant. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from keyferry.contracts.subscriptions import SubscriptionState
from keyferry.contracts.tenancy import Tier

_ORDER = list(Tier)
_FAILING = ("past_due", "unpaid")
_RUNNING = ("active", "trialing", *_FAILING)
_ENDED = ("canceled", "incomplete_expired")


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """What is known of a subscription, with times in UTC."""

    tier: Tier | None
    """That of its price; None if the price is not ours."""
    status: str
    """As Stripe names it."""
    cancels: bool
    """Whether it ends with its period."""
    period_ends_at: datetime | None
    failing_since: datetime | None = None
    paid_tier: Tier | None = None
    """A higher tier that was paid until `paid_until`."""
    paid_until: datetime | None = None


def read_subscription(
    found: Mapping[str, Any], tier_of_price: Mapping[str, Tier], before: SubscriptionFacts | None, now: datetime
) -> SubscriptionFacts:
    """Return the facts of a subscription as Stripe has it. `tier_of_price` is by the lookup keys of our prices."""
    item = found["items"]["data"][0]
    ends = item.get("current_period_end") or found.get("current_period_end")
    failing = found["status"] in _FAILING
    since = (before.failing_since if before is not None else None) or now
    still_paid = before is not None and before.paid_until is not None and before.paid_until > now
    return SubscriptionFacts(
        tier=tier_of_price.get(item["price"].get("lookup_key") or ""),
        status=found["status"],
        cancels=bool(found.get("cancel_at_period_end")),
        period_ends_at=None if ends is None else datetime.fromtimestamp(ends, UTC),
        failing_since=since if failing else None,
        paid_tier=before.paid_tier if still_paid and before is not None else None,
        paid_until=before.paid_until if still_paid and before is not None else None,
    )


def is_running(facts: SubscriptionFacts) -> bool:
    """Return whether there is a subscription that has not ended."""
    return facts.status in _RUNNING


def is_higher(tier: Tier, other: Tier | None) -> bool:
    """Return whether a tier is above another one."""
    return other is None or _ORDER.index(tier) > _ORDER.index(other)


def grace_until(facts: SubscriptionFacts, grace_days: int) -> datetime | None:
    """Return until when the tier stays although a payment failed; None if none did."""
    return None if facts.failing_since is None else facts.failing_since + timedelta(days=grace_days)


def tier_to_apply(facts: SubscriptionFacts, grace_days: int, now: datetime) -> Tier | None:
    """Return the tier that a tenant has by its subscription at `now`; None if it has none by it."""
    if not is_running(facts):
        return None
    until = grace_until(facts, grace_days)
    if until is not None and until <= now:
        return None
    if facts.paid_tier is not None and facts.paid_until is not None and facts.paid_until > now:
        return facts.paid_tier if facts.tier is None or is_higher(facts.paid_tier, facts.tier) else facts.tier
    return facts.tier


def state_of(facts: SubscriptionFacts | None, grace_days: int, now: datetime) -> SubscriptionState:
    """Return the state that people see."""
    if facts is None:
        return SubscriptionState.NONE
    if facts.status in _ENDED:
        return SubscriptionState.ENDED
    if facts.status not in _RUNNING:
        return SubscriptionState.PENDING
    until = grace_until(facts, grace_days)
    if until is not None:
        return SubscriptionState.GRACE if until > now else SubscriptionState.ENDED
    return SubscriptionState.ENDING if facts.cancels else SubscriptionState.ACTIVE
