"""Rows of leases: locked, changed by the rules, and written back, within a transaction of the caller."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.usage_ledger.credit import sql
from services.usage_ledger.credit.rules import LeaseBalance, LeaseState


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease as the ledger stores it."""

    lease_id: str
    tenant: str
    account: str
    router: str
    epoch: str
    balance: LeaseBalance
    state: LeaseState

    def with_balance(self, balance: LeaseBalance, closed_as: LeaseState = LeaseState.ACCOUNTED) -> "LeaseRow":
        """Return the lease with this balance: closed if nothing is left in it."""
        return replace(self, balance=balance, state=LeaseState.OPEN if balance.rest else closed_as)


async def lock_leases(connection: AsyncConnection, lease_ids: Collection[str]) -> dict[str, LeaseRow]:
    """Lock leases until the transaction ends, in the order of their ids; return those that exist."""
    rows = await connection.execute(sql.LOCK_LEASES, {"ids": sorted(lease_ids)})
    return {row.lease_id: _lease_row(row) for row in rows}


async def lock_ended(connection: AsyncConnection, until_ms: int, most: int) -> list[LeaseRow]:
    """Lock open leases that ended before `until_ms` and that nobody else has locked."""
    rows = await connection.execute(sql.LOCK_ENDED, {"until_ms": until_ms, "most": most})
    return [_lease_row(row) for row in rows]


async def write_leases(connection: AsyncConnection, leases: Sequence[LeaseRow], now: datetime) -> None:
    """Write back what was changed of locked leases."""
    if not leases:
        return
    values = {
        "ids": [lease.lease_id for lease in leases],
        "given_back": [lease.balance.given_back for lease in leases],
        "settled": [lease.balance.settled for lease in leases],
        "states": [lease.state.value for lease in leases],
        "now": now,
    }
    await connection.execute(sql.UPDATE_LEASES, values)


def _lease_row(row: Row[Any]) -> LeaseRow:
    balance = LeaseBalance(row.amount, row.given_back, row.settled)
    return LeaseRow(row.lease_id, row.tenant, row.account, row.router, row.epoch, balance, LeaseState(row.state))
