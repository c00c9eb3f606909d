"""How long a KEK is used: when it is due, and what then. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts.key import KekAgeReport
from services.key_vault.encryption.kek_providers.protocol import Renewal

WARN_EVERY = timedelta(days=1)
"""A warning that comes more often is not read any more; what failed is tried again no sooner either."""
_BY_HAND = "make a new one and run `keyferry vault rotate-kek`"


@dataclass(frozen=True, slots=True)
class KekAgePolicy:
    """For how long a KEK may be used, null for ever, and whether the vault replaces it by itself where it can."""

    longest: timedelta | None
    automatic: bool


@dataclass(frozen=True, slots=True)
class KekAge:
    """A KEK in use, since when, and when somebody was last told that it is overdue."""

    kek: str
    since: datetime
    warned_at: datetime | None = None


def oldest(terms: Iterable[KekAge]) -> KekAge:
    """The KEK that has been in use for longest."""
    return min(terms, key=lambda term: (term.since, term.kek))


def due_at(term: KekAge, rule: KekAgePolicy) -> datetime | None:
    """When a KEK is to be replaced; null for never."""
    return None if rule.longest is None else term.since + rule.longest


def is_due(term: KekAge, rule: KekAgePolicy, now: datetime) -> bool:
    """Whether that moment has come."""
    at = due_at(term, rule)
    return at is not None and at <= now


def warned_recently(term: KekAge, now: datetime) -> bool:
    """Whether the last warning is not a day old yet."""
    return term.warned_at is not None and now < term.warned_at + WARN_EVERY


def holder_renews(term: KekAge, primary: str, rule: KekAgePolicy, renewal: Renewal) -> bool:
    """Whether whoever holds the primary KEK changes what is behind its name, often enough."""
    days = renewal.own_days
    return term.kek == primary and days is not None and rule.longest is not None and days <= rule.longest.days


def obstacle(term: KekAge, primary: str, rule: KekAgePolicy, renewal: Renewal) -> str | None:
    """Why the vault does not replace a KEK that is due by itself; null where nothing is known to be in the way.

    A former one that still wraps data keys needs no new one, only what `keyferry vault rotate-kek` does.
    """
    if term.kek != primary:
        return None if rule.automatic else "data keys are still wrapped by it: run `keyferry vault rotate-kek`"
    if not rule.automatic:
        return f"automatic rotation is switched off: {_BY_HAND}"
    return None if renewal.obstacle is None else f"{renewal.obstacle}; {_BY_HAND}"


def told(term: KekAge, primary: str, rule: KekAgePolicy, renewal: Renewal, now: datetime) -> KekAgeReport:
    """The age of the oldest KEK in use, and what follows from it."""
    at = due_at(term, rule)
    because = obstacle(term, primary, rule, renewal)
    overdue, detail = False, "it is never due: KEYFERRY_KEK_DAYS is 0"
    if at is not None and holder_renews(term, primary, rule, renewal):
        at, detail = None, f"its holder changes it every {renewal.own_days} days"
    elif at is not None and at <= now:
        overdue = because is not None or term.warned_at is not None
        detail = because or ("replacing it failed: see the vault's log" if overdue else "the vault is replacing it")
    elif at is not None:
        day = at.date().isoformat()
        detail = f"due on {day}; then the vault replaces it" if because is None else f"due on {day}; {because}"
    return KekAgeReport(
        kek=term.kek,
        since=term.since,
        age_days=age_days(term.since, now),
        due_at=at,
        overdue=overdue,
        detail=detail,
    )


def age_days(since: datetime, now: datetime) -> int:
    """Whole days; a clock that went back makes nothing younger than new."""
    return max(0, (now - since) // timedelta(days=1))
