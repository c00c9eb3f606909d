"""Reminders to the owner of a provider key: its secret is old, its credit is low.

Each is a flag of the key, set and cleared by comparing the tables with the policy. So each is sent once, by one process, and a
process that is killed is followed by another that finds the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from keyferry.contracts.key import KeyChange, ProviderKey
from keyferry.contracts.money import plain
from services.key_vault.database.errors import Conflict
from services.key_vault.database.transaction import VAULT, Act
from services.key_vault.keys import messages
from services.key_vault.keys.lifecycle import age_days
from services.key_vault.keys.reminder_store import ReminderStore
from services.key_vault.keys.store import KeyStore

_BATCH = 50


@dataclass(frozen=True, slots=True)
class ReminderPolicy:
    """When a provider key's secret is due for rotation, and below how many US dollars credit is low; null for never."""

    rotate_after: timedelta | None
    credit_low_usd: Decimal | None


def secret_since(key: ProviderKey) -> datetime:
    """Return when the secret in use was set."""
    return key.rotated_at or key.created_at


class Reminders:
    """Reminds the owners of keys. `clock` returns the time in UTC, for ages."""

    def __init__(
        self, candidates: ReminderStore, keys: KeyStore, policy: ReminderPolicy, clock: Callable[[], datetime]
    ) -> None:
        self._candidates = candidates
        self._keys = keys
        self._policy = policy
        self._clock = clock

    def add_age(self, key: ProviderKey) -> ProviderKey:
        """Return the key with its age, for display."""
        return key.model_copy(update={"age_days": age_days(secret_since(key), self._clock())})

    async def sweep(self, now: datetime) -> int:
        """Set and clear reminders, and return of how many keys. Raises DatabaseUnavailable."""
        before = None if self._policy.rotate_after is None else now - self._policy.rotate_after
        due = await self._candidates.list_newly_due(before, _BATCH)
        no_longer_due = await self._candidates.list_no_longer_due(before, _BATCH)
        low = await self._candidates.list_newly_low(self._policy.credit_low_usd, _BATCH)
        no_longer_low = await self._candidates.list_no_longer_low(self._policy.credit_low_usd, _BATCH)
        done = [await self._remind_of_rotation(key, now) for key in due]
        done += [await self._clear(key, rotation_due=False) for key in no_longer_due]
        done += [await self._remind_of_credit(key) for key in low]
        done += [await self._clear(key, credit_low=False) for key in no_longer_low]
        return sum(done)

    async def _remind_of_rotation(self, key: ProviderKey, now: datetime) -> bool:
        days = age_days(secret_since(key), now)
        act = Act(VAULT, "key.rotation_due", key.tenant, key.key_id, details={"age_days": str(days)})
        after = key.model_copy(update={"rotation_due": True})
        detail = messages.describe_rotation_due(key, days)
        return await self._update(key, after, act, KeyChange.ROTATION_DUE, detail)

    async def _remind_of_credit(self, key: ProviderKey) -> bool:
        left = key.last_test.credit_left_usd if key.last_test else None
        threshold = self._policy.credit_low_usd
        assert left is not None, "the query selects only such keys"
        assert threshold is not None, "without a threshold the query returns nothing"
        details = {"left_usd": plain(left), "threshold_usd": plain(threshold)}
        act = Act(VAULT, "key.credit_low", key.tenant, key.key_id, details=details)
        after = key.model_copy(update={"credit_low": True})
        detail = messages.describe_credit_low(key, left, threshold)
        return await self._update(key, after, act, KeyChange.CREDIT_LOW, detail)

    async def _clear(self, key: ProviderKey, **flags: bool) -> bool:
        """Clear a reminder after the operator changed the policy, or credit was bought."""
        (flag,) = flags
        act = Act(VAULT, "key.reminder_cleared", key.tenant, key.key_id, details={"reminder": flag})
        detail = messages.describe_change(
            key, "has enough credit again" if flag == "credit_low" else "is no longer due for rotation"
        )
        return await self._update(key, key.model_copy(update=dict(flags)), act, KeyChange.EDITED, detail)

    async def _update(self, key: ProviderKey, after: ProviderKey, act: Act, change: KeyChange, detail: str) -> bool:
        try:
            await self._keys.update(key, after, act, change, detail)
        except Conflict:  # another process is changing the key; the next sweep sees the result
            return False
        return True
