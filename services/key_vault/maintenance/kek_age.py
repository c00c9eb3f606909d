"""The age policy of KEKs: when one is due for rotation, and what happens then. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts.vault import KekAgeReport
from services.key_vault.encryption.kek_providers.protocol import Renewal
from services.key_vault.keys.lifecycle import age_days

WARN_EVERY = timedelta(days=1)
"""Minimum time between two warnings, and between two attempts of a rotation that failed."""
_BY_HAND = "make a new one and run `keyferry vault rotate-kek`"


@dataclass(frozen=True, slots=True)
class KekAgePolicy:
    """How long a KEK may be used, null for ever, and whether the vault rotates it by itself where it can."""

    max_age: timedelta | None
    automatic: bool


@dataclass(frozen=True, slots=True)
class KekAge:
    """A KEK in use, since when, and when the last warning that it is overdue was issued."""

    kek: str
    since: datetime
    warned_at: datetime | None = None


def find_oldest(ages: Iterable[KekAge]) -> KekAge:
    """Return the KEK that has been in use for longest."""
    return min(ages, key=lambda age: (age.since, age.kek))


def due_at(age: KekAge, policy: KekAgePolicy) -> datetime | None:
    """Return when a KEK is due for rotation; null for never."""
    return None if policy.max_age is None else age.since + policy.max_age


def is_due(age: KekAge, policy: KekAgePolicy, now: datetime) -> bool:
    """Return whether a KEK is due for rotation."""
    at = due_at(age, policy)
    return at is not None and at <= now


def warned_recently(age: KekAge, now: datetime) -> bool:
    """Return whether the last warning is less than a day old."""
    return age.warned_at is not None and now < age.warned_at + WARN_EVERY


def provider_rotates(age: KekAge, primary: str, policy: KekAgePolicy, renewal: Renewal) -> bool:
    """Return whether the KEK provider rotates the key behind the primary's name often enough by itself."""
    days = renewal.provider_rotation_days
    return age.kek == primary and days is not None and policy.max_age is not None and days <= policy.max_age.days


def find_obstacle(age: KekAge, primary: str, policy: KekAgePolicy, renewal: Renewal) -> str | None:
    """Return why the vault does not rotate a due KEK by itself; null where no reason is known.

    A former KEK that still encrypts data keys needs no new one, only a re-encryption (`keyferry vault rotate-kek`).
    """
    if age.kek != primary:
        return None if policy.automatic else "it still encrypts data keys: run `keyferry vault rotate-kek`"
    if not policy.automatic:
        return f"automatic rotation is switched off: {_BY_HAND}"
    return None if renewal.obstacle is None else f"{renewal.obstacle}; {_BY_HAND}"


def report_age(age: KekAge, primary: str, policy: KekAgePolicy, renewal: Renewal, now: datetime) -> KekAgeReport:
    """Return a KEK's age, and what happens next."""
    at = due_at(age, policy)
    reason = find_obstacle(age, primary, policy, renewal)
    overdue, detail = False, "it is never due: KEYFERRY_KEK_DAYS is 0"
    if at is not None and provider_rotates(age, primary, policy, renewal):
        at, detail = None, f"its KEK provider rotates it every {renewal.provider_rotation_days} days"
    elif at is not None and at <= now:
        overdue = reason is not None or age.warned_at is not None
        detail = reason or ("its rotation failed: see the vault's log" if overdue else "the vault is rotating it")
    elif at is not None:
        day = at.date().isoformat()
        detail = f"due on {day}; then the vault rotates it" if reason is None else f"due on {day}; {reason}"
    return KekAgeReport(
        kek=age.kek,
        since=age.since,
        age_days=age_days(age.since, now),
        due_at=at,
        overdue=overdue,
        detail=detail,
    )
