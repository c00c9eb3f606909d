"""Finds the keys whose reminder has to be set or cleared."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Numeric, func, literal_column, select, true

from keyferry.contracts.key import ProviderKey
from services.key_vault.database.tables import provider_key_of, provider_keys
from services.key_vault.database.transaction import Database

_keys = provider_keys.c
_secret_since = func.coalesce(_keys.rotated_at, _keys.created_at)
_credit_left: ColumnElement[Decimal] = literal_column("((last_test ->> 'credit_left_usd')::numeric)", Numeric)
"""Null where the last test learned no credit; then a reminder stays as it is. Written exactly as in the index."""


class ReminderStore:
    """Selects keys by their reminders. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_newly_due(self, before: datetime | None, limit: int) -> list[ProviderKey]:
        """Return keys without this reminder whose secret was set at `before` or earlier; none for null."""
        if before is None:
            return []
        # Ordered like the index, or the planner scans all keys in the order of their ids.
        return await self._select(~_keys.rotation_due & (_secret_since <= before), limit, _secret_since)

    async def list_no_longer_due(self, before: datetime | None, limit: int) -> list[ProviderKey]:
        """Return keys with this reminder whose secret was set after `before`; all of them for null."""
        younger = true() if before is None else _secret_since > before
        return await self._select(_keys.rotation_due & younger, limit)

    async def list_newly_low(self, threshold: Decimal | None, limit: int) -> list[ProviderKey]:
        """Return keys without this reminder and with less credit than `threshold` (US dollars); none for null."""
        if threshold is None:
            return []
        return await self._select(~_keys.credit_low & (_credit_left < threshold), limit, _credit_left)

    async def list_no_longer_low(self, threshold: Decimal | None, limit: int) -> list[ProviderKey]:
        """Return keys with this reminder and at least `threshold` of credit; all of them for null."""
        enough = true() if threshold is None else _credit_left >= threshold
        return await self._select(_keys.credit_low & enough, limit)

    async def _select(
        self, condition: ColumnElement[bool], limit: int, order: ColumnElement[Any] = _keys.key_id
    ) -> list[ProviderKey]:
        query = select(provider_keys).where(condition).order_by(order).limit(limit)
        async with self._database.transaction() as connection:
            return [provider_key_of(row) for row in await connection.execute(query)]
