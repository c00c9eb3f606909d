"""Which keys have a mark to get or to lose."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Numeric, func, literal_column, select, true

from keyferry.contracts.key import ProviderKey
from services.key_vault.database.tables import provider_key_of, provider_keys
from services.key_vault.database.transaction import Transactions

_keys = provider_keys.c
_since = func.coalesce(_keys.rotated_at, _keys.created_at)
_credit_left: ColumnElement[Decimal] = literal_column("((last_test ->> 'credit_left_usd')::numeric)", Numeric)
"""Null where the last test was told nothing of credit; then a mark stays as it is. Spelled as the index spells it."""


class ReminderStore(Transactions):
    """Looks for keys by their marks. Every method raises DatabaseUnavailable."""

    async def newly_due(self, before: datetime | None, limit: int) -> list[ProviderKey]:
        """Keys whose secret was given at `before` or earlier and that are not marked; none for null."""
        if before is None:
            return []
        # In the order of the index, or the planner walks through all keys in the order of their ids.
        return await self._marked(~_keys.rotation_due & (_since <= before), limit, _since)

    async def no_more_due(self, before: datetime | None, limit: int) -> list[ProviderKey]:
        """Keys that are marked and whose secret was given after `before`; all that are marked for null."""
        younger = true() if before is None else _since > before
        return await self._marked(_keys.rotation_due & younger, limit)

    async def newly_low(self, threshold: Decimal | None, limit: int) -> list[ProviderKey]:
        """Keys with less credit than `threshold` (US dollars) that are not marked; none for null."""
        if threshold is None:
            return []
        return await self._marked(~_keys.credit_low & (_credit_left < threshold), limit, _credit_left)

    async def no_more_low(self, threshold: Decimal | None, limit: int) -> list[ProviderKey]:
        """Keys that are marked and have `threshold` or more; all that are marked for null."""
        enough = true() if threshold is None else _credit_left >= threshold
        return await self._marked(_keys.credit_low & enough, limit)

    async def _marked(
        self, condition: ColumnElement[bool], limit: int, order: ColumnElement[Any] = _keys.key_id
    ) -> list[ProviderKey]:
        query = select(provider_keys).where(condition).order_by(order).limit(limit)
        async with self._transaction() as connection:
            return [provider_key_of(row) for row in await connection.execute(query)]
