"""Accounts and transfers in PostgreSQL, inside a transaction of the caller.

The caller's transaction locks the accounts of its transfers in the order of their names, so that two transactions wait for
each other and never deadlock; one that applies transfers more than once first locks all accounts together. The database adds
the transfers up in a trigger, and refuses by its own constraints whatever the rules of `posting` refuse.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from pydantic_core import to_json
from sqlalchemy import RowMapping, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.accounts import AccountKind, Unit, kind_of
from services.usage_ledger.accounts.posting import Balance, PendingTransfer, check_form, open_account, post
from services.usage_ledger.accounts.transfer import Transfer, TransferConflict, TransferPhase, TransferPurpose, resolve
from services.usage_ledger.alerts.causes import mark_tenants

_OPEN = text("""
INSERT INTO usage_ledger.accounts (name, unit, parent, opened_at)
SELECT name, unit, parent, :now FROM unnest(CAST(:names AS text[]), CAST(:units AS text[]), CAST(:parents AS text[]))
    AS opened (name, unit, parent)
ORDER BY name ON CONFLICT (name) DO NOTHING
""")
_READ = "SELECT * FROM usage_ledger.accounts WHERE name = ANY(:names) ORDER BY name"
_HELD = text("""
SELECT parent, sum(credits_posted - debits_posted) AS held FROM usage_ledger.accounts
WHERE parent = ANY(:names) AND parent IS NOT NULL AND is_positive GROUP BY parent
""")
_KNOWN = text("SELECT * FROM usage_ledger.transfers WHERE id = ANY(:ids)")
_RESOLVED = text("SELECT pending_id, id FROM usage_ledger.transfers WHERE pending_id = ANY(:ids)")
_INSERT = text("""
INSERT INTO usage_ledger.transfers
    (id, debit, credit, unit, amount, purpose, phase, pending_id, expires_at, reason, actor, source, source_id, recorded_at)
SELECT id, debit, credit, unit, amount, purpose, phase, pending_id, expires_at, reason, actor, source, source_id, :now
FROM json_to_recordset(CAST(:rows AS json)) AS added (
    position bigint, id text, debit text, credit text, unit text, amount bigint, purpose text, phase text, pending_id text,
    expires_at timestamptz, reason text, actor text, source text, source_id text)
ORDER BY position
""")
_DUE = text("""
SELECT * FROM usage_ledger.transfers pending
WHERE phase = 'pending' AND expires_at <= :now
    AND NOT EXISTS (SELECT FROM usage_ledger.transfers resolution WHERE resolution.pending_id = pending.id)
ORDER BY expires_at LIMIT :most
""")
_OF_ATTEMPTS = frozenset(
    {
        *(TransferPurpose.LEASE, TransferPurpose.RETURN, TransferPurpose.SETTLEMENT, TransferPurpose.ABSORBED),
        *(TransferPurpose.FUNDING, TransferPurpose.FLOW_BACK),
    }
)
_UNIQUE = {
    "transfers_pkey": "its id belongs to another transfer",
    "transfers_one_per_source": "its source has caused another transfer already",
}


@dataclass(frozen=True, slots=True)
class AppliedTransfers:
    """What applying transfers has done."""

    new: frozenset[str]
    """Ids of those that were not there before; the others have had no effect."""
    balances: Mapping[str, Balance]
    """Every account of the transfers, as it is now."""


async def lock_accounts(connection: AsyncConnection, names: Collection[str]) -> dict[str, Balance]:
    """Lock accounts until the transaction ends, in the order of their names; return those that exist."""
    # Not FOR UPDATE, which would wait for transactions that only refer to the account.
    return await _read(connection, f"{_READ} FOR NO KEY UPDATE", names)


async def read_balances(connection: AsyncConnection, names: Collection[str]) -> dict[str, Balance]:
    """Return the balances of those accounts that exist."""
    return await _read(connection, _READ, names)


async def read_held(connection: AsyncConnection, names: Collection[str]) -> dict[str, int]:
    """Return what is in leases of each of these accounts, and neither settled nor returned; 0 is left out."""
    rows = await connection.execute(_HELD, {"names": sorted(names)})
    return {row.parent: int(row.held) for row in rows}


async def apply_transfers(
    connection: AsyncConnection, transfers: Sequence[Transfer], now: datetime
) -> AppliedTransfers:
    """Insert transfers and change the balances of their accounts, all or none of them, in the given order.

    Accounts are opened by their first transfer. A transfer that is there already, with the same id and content, has no effect.
    Guards: the locks of the accounts, the rules of `posting`, and the constraints of both tables. Raises TransferRefused, among
    it InsufficientFunds, after which the transaction has to be rolled back.
    """
    once = _without_repetitions(transfers)
    for transfer in once.values():
        check_form(transfer)
    await open_accounts(connection, _accounts_to_open(once.values()), now)
    names = {name for transfer in once.values() for name in (transfer.debit, transfer.credit)}
    balances = await lock_accounts(connection, names)
    known = await _read_known(connection, once.keys())
    for transfer_id, before in known.items():
        if before != once[transfer_id]:
            raise TransferConflict(once[transfer_id], _UNIQUE["transfers_pkey"])
    new = [transfer for transfer in once.values() if transfer.transfer_id not in known]
    pending = await _read_pending(connection, [one.pending_id for one in new if one.pending_id is not None])
    after = post(balances, pending, new, now)
    if new:
        await _insert(connection, new, now)
        await mark_tenants(connection, _marked(new))
    return AppliedTransfers(frozenset(transfer.transfer_id for transfer in new), after)


async def expire_transfers(connection: AsyncConnection, now: datetime, *, most: int = 500) -> int:
    """Release what pending transfers have set aside that expired; return how many there were."""
    due = [_transfer(row) for row in (await connection.execute(_DUE, {"now": now, "most": most})).mappings()]
    found = [resolve(pending, TransferPhase.EXPIRE, f"expire:{pending.transfer_id}"[:200]) for pending in due]
    return len((await apply_transfers(connection, found, now)).new) if found else 0


def _marked(transfers: Iterable[Transfer]) -> set[str]:
    """Return the tenants whose credits somebody has changed; those of attempts are marked with these."""
    accounts = {name for one in transfers if one.purpose not in _OF_ATTEMPTS for name in (one.debit, one.credit)}
    return {name.partition("/")[2] for name in accounts if kind_of(name) is AccountKind.CREDITS}


def _without_repetitions(transfers: Iterable[Transfer]) -> dict[str, Transfer]:
    once: dict[str, Transfer] = {}
    for transfer in transfers:
        if once.setdefault(transfer.transfer_id, transfer) != transfer:
            raise TransferConflict(transfer, _UNIQUE["transfers_pkey"])
    return once


def _accounts_to_open(transfers: Iterable[Transfer]) -> list[Balance]:
    """Return the accounts that these transfers open unless they exist: all, except leases that nothing is paid into."""
    accounts: dict[str, Balance] = {}
    for transfer in transfers:
        accounts.setdefault(transfer.credit, open_account(transfer.credit, transfer))
        if kind_of(transfer.debit) is not AccountKind.LEASE:
            accounts.setdefault(transfer.debit, open_account(transfer.debit, transfer))
    return list(accounts.values())


async def open_accounts(connection: AsyncConnection, accounts: Collection[Balance], now: datetime) -> None:
    """Open those of these accounts that do not exist."""
    # Also for accounts that exist: a second transaction waits here, in the order of names, for the first that opens one.
    values = {
        "names": [account.account for account in accounts],
        "units": [account.unit for account in accounts],
        "parents": [account.parent for account in accounts],
        "now": now,
    }
    await connection.execute(_OPEN, values)


async def _read(connection: AsyncConnection, statement: str, names: Collection[str]) -> dict[str, Balance]:
    rows = await connection.execute(text(statement), {"names": sorted(names)})
    return {row["name"]: _balance(row) for row in rows.mappings()}


async def _read_known(connection: AsyncConnection, ids: Collection[str]) -> dict[str, Transfer]:
    rows = await connection.execute(_KNOWN, {"ids": list(ids)})
    return {row["id"]: _transfer(row) for row in rows.mappings()}


async def _read_pending(connection: AsyncConnection, ids: Collection[str]) -> dict[str, PendingTransfer]:
    if not ids:
        return {}
    found = await _read_known(connection, ids)
    rows = await connection.execute(_RESOLVED, {"ids": list(ids)})
    resolved = {row.pending_id: row.id for row in rows}
    return {key: PendingTransfer(transfer, resolved.get(key)) for key, transfer in found.items()}


async def _insert(connection: AsyncConnection, transfers: Sequence[Transfer], now: datetime) -> None:
    rows = [_values(position, transfer) for position, transfer in enumerate(transfers)]
    try:
        await connection.execute(_INSERT, {"rows": to_json(rows).decode(), "now": now})
    except IntegrityError as error:
        cause = error.orig
        constraint = cause.diag.constraint_name if isinstance(cause, psycopg.Error) else None
        if constraint in _UNIQUE:
            # Another transaction, which need not share an account with this one, has committed it in the meantime.
            raise TransferConflict(transfers[0], _UNIQUE[constraint]) from None
        raise


def _values(position: int, transfer: Transfer) -> dict[str, object]:
    return {
        "position": position,
        "id": transfer.transfer_id,
        "debit": transfer.debit,
        "credit": transfer.credit,
        "unit": transfer.unit,
        "amount": transfer.amount,
        "purpose": transfer.purpose,
        "phase": transfer.phase,
        "pending_id": transfer.pending_id,
        "expires_at": transfer.expires_at,
        "reason": transfer.reason,
        "actor": transfer.actor,
        "source": transfer.source,
        "source_id": transfer.source_id,
    }


def _transfer(row: RowMapping) -> Transfer:
    return Transfer(
        transfer_id=row["id"],
        debit=row["debit"],
        credit=row["credit"],
        amount=row["amount"],
        purpose=TransferPurpose(row["purpose"]),
        phase=TransferPhase(row["phase"]),
        pending_id=row["pending_id"],
        expires_at=row["expires_at"],
        reason=row["reason"],
        actor=row["actor"],
        source=row["source"],
        source_id=row["source_id"],
    )


def _balance(row: RowMapping) -> Balance:
    return Balance(
        account=row["name"],
        unit=Unit(row["unit"]),
        parent=row["parent"],
        debits_posted=row["debits_posted"],
        credits_posted=row["credits_posted"],
        debits_pending=row["debits_pending"],
        credits_pending=row["credits_pending"],
    )
