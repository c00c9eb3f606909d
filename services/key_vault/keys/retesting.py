"""Tests stored keys and applies what time brings: expiry, the end of the revert period, a new month."""

import logging
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from keyferry.contracts.key import KeyChange, KeyStatus, KeyTest, ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from services.key_vault.database.errors import Conflict, RequestRejected
from services.key_vault.database.transaction import VAULT, Act
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys import lifecycle, messages
from services.key_vault.keys.editing import apply_limit
from services.key_vault.keys.lifecycle import Event
from services.key_vault.keys.record_store import RecordStore
from services.key_vault.keys.store import KeyStore
from services.key_vault.keys.testing import KeyTesting

_log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 3
"""To record a test's result while others change the key."""


class Retester:
    """Tests stored keys. `clock` returns the time in UTC, `jitter` numbers from 0 to 1."""

    def __init__(
        self,
        keys: KeyStore,
        records: RecordStore,
        encryption: EnvelopeEncryption,
        testing: KeyTesting,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._records = records
        self._encryption = encryption
        self._testing = testing
        self._clock = clock
        self._jitter = jitter

    async def test(self, key: ProviderKey, actor: str) -> ProviderKey:
        """Return the key after a test. A key whose record cannot be decrypted becomes undecryptable without a test.

        Raises RequestRejected when the key is removed or rotated meanwhile, KekUnavailable, DatabaseUnavailable.
        """
        secret = await self._decrypt(key)
        if secret is None:
            return await self._mark_undecryptable(key, actor)
        check = await self._testing.run(key, secret)
        return await self._record_test(key, check, actor)

    async def expire(self, key: ProviderKey) -> None:
        """Mark a key whose expiry date has passed. Raises Conflict, DatabaseUnavailable."""
        after = key.model_copy(update={"status": lifecycle.status_after(key, Event.RAN_OUT)})
        after = lifecycle.reschedule(after, self._clock(), self._jitter())
        act = Act(VAULT, "key.expire", key.tenant, key.key_id)
        await self._keys.update(key, after, act, KeyChange.EXPIRED, messages.describe_change(after, "has expired"))

    async def delete_former(self, key: ProviderKey) -> None:
        """Destroy the former version after the revert period. Raises Conflict, DatabaseUnavailable."""
        after = key.model_copy(update={"revert_until": None})
        act = Act(VAULT, "key.overlap_end", key.tenant, key.key_id)
        detail = messages.describe_change(after, "can no longer be reverted: its former version was destroyed")
        await self._keys.update(key, after, act, KeyChange.EDITED, detail)

    async def start_month(self, key: ProviderKey, month: str) -> None:
        """Reset the spending for a new `month`. Raises Conflict, DatabaseUnavailable."""
        after = apply_limit(key.model_copy(update={"spent_usd": Decimal(0), "unpriced": 0}))
        act = Act(VAULT, "key.month", key.tenant, key.key_id, details={"month": month})
        usable_again = key.over_limit and not after.over_limit
        detail = (
            messages.describe_within_limit(after)
            if usable_again
            else messages.describe_change(after, "begins a new month of spending")
        )
        await self._keys.update(key, after, act, KeyChange.EDITED, detail, month=month)

    async def _decrypt(self, key: ProviderKey) -> Secret | None:
        record = await self._records.get(key.tenant, key.key_id, key.version)
        if record is None:
            return None
        try:
            return await self._encryption.decrypt(key, record)
        except Undecryptable as error:
            _log.error("a provider key cannot be decrypted", extra={"key_id": key.key_id, "why": str(error)})
            return None

    async def _mark_undecryptable(self, key: ProviderKey, actor: str) -> ProviderKey:
        after = key.model_copy(update={"status": lifecycle.status_after(key, Event.LOST), "next_test_at": None})
        if await self._changed_meanwhile(key):
            raise _changed_during_test(key)
        act = Act(actor, "key.test", key.tenant, key.key_id, details={"status": after.status.value})
        detail = messages.describe_change(after, "could not be decrypted")
        try:
            return await self._keys.update(key, after, act, KeyChange.TESTED, detail)
        except Conflict:
            raise _changed_during_test(key) from None

    async def _changed_meanwhile(self, key: ProviderKey) -> bool:
        """Return whether the record may be missing because the next version's replaced it."""
        fresh = await self._keys.get(key.tenant, key.key_id)
        return fresh is None or fresh.version != key.version

    async def _record_test(self, key: ProviderKey, check: KeyTest, actor: str) -> ProviderKey:
        """Record a test's result, and keep what a person changed during the test."""
        for _ in range(_MAX_ATTEMPTS):
            after = lifecycle.apply_test(_mark_decryptable(key), check, self._jitter())
            details = {"result": check.result.value, "status": after.status.value}
            act = Act(actor, "key.test", key.tenant, key.key_id, details=details)
            try:
                return await self._keys.update(key, after, act, KeyChange.TESTED, messages.describe_test(after, check))
            except Conflict:
                fresh = await self._keys.get(key.tenant, key.key_id)
                if fresh is None or fresh.version != key.version:
                    raise _changed_during_test(key) from None
                key = fresh
        raise _changed_during_test(key)


def _mark_decryptable(key: ProviderKey) -> ProviderKey:
    if key.status is not KeyStatus.UNDECRYPTABLE:
        return key
    return key.model_copy(update={"status": lifecycle.status_after(key, Event.FOUND)})


def _changed_during_test(key: ProviderKey) -> RequestRejected:
    return RequestRejected(
        ErrorCode.CONFLICT, f"{key.key_id} was changed or removed during its test: look at it and test it again"
    )
