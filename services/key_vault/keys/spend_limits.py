"""Applies the ledger's spending figures to keys, and blocks a key once its monthly limit is reached.

The figures are cumulative, so a repeated or late message changes nothing.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.key import KeyChange, KeySpend, KeySpends, ProviderKey
from keyferry.contracts.topology import KEY_SPENT, KEYS_SPENT
from services.key_vault.database.errors import Conflict
from services.key_vault.database.transaction import VAULT, Act
from services.key_vault.keys import lifecycle, messages
from services.key_vault.keys.editing import apply_limit
from services.key_vault.keys.store import KeyStore

_log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 3


class SpendLimits:
    """Handles `key.spent` and `keys.spent`. `on_commit` is called after a change, `clock` returns the time in UTC."""

    def __init__(self, keys: KeyStore, on_commit: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._on_commit = on_commit
        self._clock = clock

    async def on_spent(self, batch: list[Msg]) -> None:
        """Record the figures of a batch, skipping malformed messages. Raises DatabaseUnavailable: then it is redelivered."""
        spends = [spent for message in batch for spent in _decode(message)]
        if spends:
            await self.apply(spends)

    async def apply(self, spends: Sequence[KeySpend]) -> None:
        """Record figures in one transaction, and block or release the keys accordingly. Raises DatabaseUnavailable."""
        month = lifecycle.month_of(self._clock())
        # The figures of another month neither block nor release a key in this one.
        current = {spent.key_id for spent in spends if spent.month == month}
        keys = [key for key in await self._keys.record_spending(spends) if key.key_id in current]
        changed = [await self._apply_limit(key, month) for key in keys]
        if any(changed):
            self._on_commit()

    async def _apply_limit(self, read: ProviderKey, month: str) -> bool:
        """Block or release a key; return whether it was changed."""
        key: ProviderKey | None = read
        for _ in range(_MAX_ATTEMPTS):
            if key is None or (after := apply_limit(key)).over_limit == key.over_limit:
                return False
            try:
                await self._update(key, after, month)
            except Conflict:
                key = await self._keys.get(read.tenant, read.key_id)
                continue
            return True
        return False

    async def _update(self, key: ProviderKey, after: ProviderKey, month: str) -> None:
        detail = messages.describe_over_limit(after) if after.over_limit else messages.describe_within_limit(after)
        details = {"month": month, "over_limit": str(after.over_limit).lower()}
        act = Act(VAULT, "key.limit", key.tenant, key.key_id, details=details)
        await self._keys.update(key, after, act, KeyChange.OVER_LIMIT, detail)


def _decode(message: Msg) -> list[KeySpend]:
    """Return the figures in a message of either form; none if it is malformed."""
    try:
        if message.subject == KEYS_SPENT.template:
            return KeySpends.decode(message.data).spends
        spent = KeySpend.decode(message.data)
    except MalformedMessage as error:
        _log.warning("skipped a malformed spending report", extra={"reason": str(error)})
        return []
    if not KEY_SPENT.matches(message.subject, spent):
        _log.warning("skipped a spending report that names another tenant than its subject")
        return []
    return [spent]
