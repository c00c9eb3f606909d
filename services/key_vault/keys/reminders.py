"""What the owner of a provider key is told without having asked: its secret is old, its credit is low.

Both are marks of the key, set and taken away by looking at the tables: so each is told once, by one process, and whoever dies
in between is followed by another who finds the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from keyferry.contracts.key import KeyChange, ProviderKey
from keyferry.contracts.money import plain
from services.key_vault.database.transaction import VAULT, Act
from services.key_vault.keys import messages as wording
from services.key_vault.keys.store import Conflict, KeyStore
from services.key_vault.maintenance.kek_age import age_days

_BATCH = 50


@dataclass(frozen=True, slots=True)
class ReminderPolicy:
    """How old a provider key's secret may get, and below how many US dollars credit is low; null for no notice."""

    rotate_after: timedelta | None
    credit_low_usd: Decimal | None


def secret_since(key: ProviderKey) -> datetime:
    """When the secret in use was given."""
    return key.rotated_at or key.created_at


def aged(key: ProviderKey, now: datetime) -> ProviderKey:
    """The key as it is shown: with its age."""
    return key.model_copy(update={"age_days": age_days(secret_since(key), now)})


class Reminders:
    """Tells owners of keys. `clock` gives the time in UTC, for showing ages."""

    def __init__(self, store: KeyStore, rules: ReminderPolicy, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock

    def shown(self, key: ProviderKey) -> ProviderKey:
        """The key with its age, as people see it."""
        return aged(key, self._clock())

    async def passing(self, now: datetime) -> int:
        """One round: to how many keys a mark was given or taken away. Raises DatabaseUnavailable."""
        before = None if self._rules.rotate_after is None else now - self._rules.rotate_after
        due = await self._store.newly_due(before, _BATCH)
        fresh = await self._store.no_more_due(before, _BATCH)
        low = await self._store.newly_low(self._rules.credit_low_usd, _BATCH)
        filled = await self._store.no_more_low(self._rules.credit_low_usd, _BATCH)
        done = [await self._due(key, now) for key in due]
        done += [await self._mark(key, rotation_due=False) for key in fresh]
        done += [await self._low(key) for key in low]
        done += [await self._mark(key, credit_low=False) for key in filled]
        return sum(done)

    async def _due(self, key: ProviderKey, now: datetime) -> bool:
        days = age_days(secret_since(key), now)
        act = Act(VAULT, "key.rotation_due", key.tenant, key.key_id, details={"age_days": str(days)})
        after = key.model_copy(update={"rotation_due": True})
        return await self._update(key, after, act, KeyChange.ROTATION_DUE, wording.rotation_due(key, days))

    async def _low(self, key: ProviderKey) -> bool:
        left = key.last_test.credit_left_usd if key.last_test else None
        threshold = self._rules.credit_low_usd
        assert left is not None, "only such keys are found"
        assert threshold is not None, "none are found without one"
        details = {"left_usd": plain(left), "threshold_usd": plain(threshold)}
        act = Act(VAULT, "key.credit_low", key.tenant, key.key_id, details=details)
        after = key.model_copy(update={"credit_low": True})
        return await self._update(key, after, act, KeyChange.CREDIT_LOW, wording.credit_low(key, left, threshold))

    async def _mark(self, key: ProviderKey, **marks: bool) -> bool:
        """Take a mark away: the operator chose another limit, or there is credit again."""
        (mark,) = marks
        act = Act(VAULT, "key.notice_over", key.tenant, key.key_id, details={"mark": mark})
        detail = wording.became(
            key, "has enough credit again" if mark == "credit_low" else "is not due for rotation any more"
        )
        return await self._update(key, key.model_copy(update=dict(marks)), act, KeyChange.EDITED, detail)

    async def _update(self, key: ProviderKey, after: ProviderKey, act: Act, change: KeyChange, detail: str) -> bool:
        try:
            await self._store.update(key, after, act, change, detail)
        except Conflict:  # somebody changes the key in this moment; the next round looks at what comes of it
            return False
        return True
