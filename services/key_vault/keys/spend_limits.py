"""Applies the ledger's spending figures to keys, and blocks a key once its monthly limit is reached.

The figures are cumulative, so a repeated or late message changes nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.key import KeyChange, KeySpend, ProviderKey
from keyferry.contracts.topology import KEY_SPENT
from services.key_vault.database.errors import Conflict
from services.key_vault.database.transaction import VAULT, Act
from services.key_vault.keys import lifecycle, messages
from services.key_vault.keys.editing import apply_limit
from services.key_vault.keys.store import KeyStore

_log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 3


class SpendLimits:
    """Handles `key.spent`. `on_commit` is called after a change, `clock` returns the time in UTC."""

    def __init__(self, keys: KeyStore, on_commit: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._on_commit = on_commit
        self._clock = clock

    async def on_spent(self, batch: list[Msg]) -> None:
        """Process a batch, skipping malformed messages. Raises DatabaseUnavailable, so that it is redelivered."""
        for message in batch:
            try:
                spent = KeySpend.decode(message.data)
            except MalformedMessage as error:
                _log.warning("skipped a malformed spending report", extra={"reason": str(error)})
                continue
            if not KEY_SPENT.matches(message.subject, spent):
                _log.warning("skipped a spending report that names another tenant than its subject")
                continue
            await self.apply(spent)

    async def apply(self, spent: KeySpend) -> None:
        """Record one figure, and block or release the key accordingly. Raises DatabaseUnavailable."""
        for _ in range(_MAX_ATTEMPTS):
            key = await self._keys.record_spend(spent)
            if key is None or spent.month != lifecycle.month_of(self._clock()):
                return
            after = apply_limit(key)
            if after.over_limit == key.over_limit:
                return
            try:
                await self._update(key, after, spent.month)
            except Conflict:
                continue
            self._on_commit()
            return

    async def _update(self, key: ProviderKey, after: ProviderKey, month: str) -> None:
        detail = messages.describe_over_limit(after) if after.over_limit else messages.describe_within_limit(after)
        details = {"month": month, "over_limit": str(after.over_limit).lower()}
        act = Act(VAULT, "key.limit", key.tenant, key.key_id, details=details)
        await self._keys.update(key, after, act, KeyChange.OVER_LIMIT, detail)
