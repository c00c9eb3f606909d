"""What keys cost: takes in the ledger's figures, and keeps a key from being used once its monthly limit is reached.

The figures are cumulative, so a message that comes twice or late changes nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.key import KeyChange, KeySpend, ProviderKey
from keyferry.contracts.topology import KEY_SPENT
from services.key_vault.database.transaction import VAULT, Act
from services.key_vault.keys import lifecycle
from services.key_vault.keys import messages as wording
from services.key_vault.keys.editing import apply_limit
from services.key_vault.keys.store import Conflict, KeyStore

_log = logging.getLogger(__name__)

_TRIES = 3


class SpendLimits:
    """Hears of `key.spent`. `committed` is called after a change, `clock` gives the time in UTC."""

    def __init__(self, store: KeyStore, committed: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._committed = committed
        self._clock = clock

    async def on_spent(self, messages: list[Msg]) -> None:
        """Take in a batch. Raises DatabaseUnavailable, so that it comes again; what cannot be read is passed over."""
        for message in messages:
            try:
                spent = KeySpend.decode(message.data)
            except MalformedMessage as error:
                _log.warning("passed over what a key cost", extra={"reason": str(error)})
                continue
            if not KEY_SPENT.matches(message.subject, spent):
                _log.warning("passed over what a key cost: it names another tenant than its subject")
                continue
            await self.take(spent)

    async def take(self, spent: KeySpend) -> None:
        """Record one figure, and what follows from it for the key's use. Raises DatabaseUnavailable."""
        for _ in range(_TRIES):
            key = await self._store.spend(spent)
            if key is None or spent.month != lifecycle.month_of(self._clock()):
                return
            after = apply_limit(key)
            if after.over_limit == key.over_limit:
                return
            try:
                await self._tell(key, after, spent.month)
            except Conflict:
                continue
            self._committed()
            return

    async def _tell(self, key: ProviderKey, after: ProviderKey, month: str) -> None:
        detail = wording.over_limit(after) if after.over_limit else wording.within_limit(after)
        details = {"month": month, "over_limit": str(after.over_limit).lower()}
        act = Act(VAULT, "key.limit", key.tenant, key.key_id, details=details)
        await self._store.update(key, after, act, KeyChange.OVER_LIMIT, detail)
