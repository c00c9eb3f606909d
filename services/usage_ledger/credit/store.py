"""Leases of accounts: granted, given back, and released when nothing can be missing of them.

A change of a lease locks its row first and accounts after it, both in the order of their names.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.accounts import SPENDABLE, AccountKind, kind_of, lease_account
from keyferry.contracts.credit import LEASE_MS, CreditLease, LeaseCredit, LeaseResult, ReturnCredit
from services.usage_ledger.accounts.debts import pay_debt
from services.usage_ledger.accounts.store import apply_transfers, lock_accounts, read_held
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.credit import sql
from services.usage_ledger.credit.lease_rows import LeaseRow, lock_ended, lock_leases, write_leases
from services.usage_ledger.credit.rules import LeaseBalance, LeaseState, given_back_now, grant_amount
from services.usage_ledger.database import TransactionalStore

OpenAccount = Callable[[AsyncConnection, str, str, datetime], Awaitable[bool]]
"""Funds an account on its first use: (connection, tenant, account, now). Returns whether there is such an account."""

_EXACT = frozenset({AccountKind.ALLOWANCE})
"""Accounts so small that what is idle in one router is missed in another: each attempt has a lease of its own."""
_LARGEST = 10**15
_ID_PREFIX = "lea"
_KEPT = timedelta(days=7)
"""A closed lease is kept for so long; an attempt of one that is gone is absorbed, as it is of a closed one."""
_MOST = 500


class CreditLeaseStore(TransactionalStore):
    """The leases of one installation. `openers` fund accounts by their kind. Every method raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, openers: Mapping[AccountKind, OpenAccount] | None = None) -> None:
        super().__init__(engine)
        self._openers: dict[AccountKind, OpenAccount] = dict(openers or {})

    def open_with(self, kind: AccountKind, opener: OpenAccount) -> None:
        """Let accounts of a kind be funded by `opener` on their first use."""
        self._openers[kind] = opener

    async def lease(self, ask: LeaseCredit, router: str, now: datetime) -> CreditLease:
        """Lease a part of an account to a process of a router; any number of them have the router's name at the same time.

        Guard: the lock of the account, and its constraint in the database.
        """
        if not _may_lease(ask):
            return CreditLease(result=LeaseResult.UNKNOWN_ACCOUNT, account=ask.account)
        async with self.transaction() as connection:
            available = await self._available(connection, ask, now)
            if available is None:
                return CreditLease(result=LeaseResult.UNKNOWN_ACCOUNT, account=ask.account)
            in_advance = kind_of(ask.account) not in _EXACT
            amount = grant_amount(available, max(ask.need, 1), ask.want, in_advance=in_advance)
            if amount is None:
                held = (await read_held(connection, [ask.account])).get(ask.account, 0)
                return CreditLease(
                    result=LeaseResult.INSUFFICIENT,
                    account=ask.account,
                    available=min(available, _LARGEST),
                    held=min(held, _LARGEST),
                )
            return await _grant(connection, ask, router, amount, available, now)

    async def give_back(self, given: ReturnCredit, router: str, now: datetime) -> int:
        """Return to its account what a router has not set aside of a lease; return how much that was."""
        async with self.transaction() as connection:
            lease = (await lock_leases(connection, [given.lease_id])).get(given.lease_id)
            if lease is None or (lease.router, lease.epoch, lease.tenant) != (router, given.epoch, given.tenant):
                return 0
            amount = given_back_now(lease.balance, given.amount)
            if amount:
                await _give_back(connection, [(lease, amount, LeaseState.ACCOUNTED)], now)
            return amount

    async def release(self, until_ms: int, now: datetime) -> int:
        """Return the rests of leases that ended before `until_ms` to their accounts; return how many there were."""
        async with self.transaction() as connection:
            ended = await lock_ended(connection, until_ms, _MOST)
            await _give_back(connection, [(lease, lease.balance.rest, LeaseState.RELEASED) for lease in ended], now)
            return len(ended)

    async def remove_closed(self, now: datetime) -> None:
        """Remove leases that were closed long ago."""
        async with self.transaction() as connection:
            await connection.execute(sql.REMOVE_CLOSED, {"before": now - _KEPT, "most": _MOST})

    # --- inside

    async def _available(self, connection: AsyncConnection, ask: LeaseCredit, now: datetime) -> int | None:
        """Lock an account and return what it has available; None if there is no such account."""
        kind = kind_of(ask.account)
        opener = self._openers.get(kind)
        if kind is AccountKind.BUDGET and opener is not None:
            # Every time, and before the account is locked: what may be spent of a budget changes without any transfer.
            if not await opener(connection, ask.tenant, ask.account, now):
                return None
            opener = None
        if kind is AccountKind.CREDITS:
            # Credits that leases gave back pay first what is owed, and only then requests.
            await pay_debt(connection, ask.tenant, now)
        balances = await lock_accounts(connection, [ask.account])
        if ask.account not in balances:
            if opener is None:
                # A tenant that was never given credits has none; the other kinds have to be funded by somebody.
                return 0 if kind is AccountKind.CREDITS else None
            if not await opener(connection, ask.tenant, ask.account, now):
                return None
            balances = await lock_accounts(connection, [ask.account])
        balance = balances.get(ask.account)
        return balance.available if balance is not None else 0


def _may_lease(ask: LeaseCredit) -> bool:
    """Return whether the account is one that routers lease, and the tenant's own as far as its name shows that."""
    kind, _, rest = ask.account.partition("/")
    if kind not in SPENDABLE:
        return False
    return kind == AccountKind.BUDGET or rest.partition("/")[0] == ask.tenant


async def _grant(
    connection: AsyncConnection, ask: LeaseCredit, router: str, amount: int, available: int, now: datetime
) -> CreditLease:
    lease_id = ids.new(_ID_PREFIX)
    not_after_ms = int(now.timestamp() * 1000) + LEASE_MS
    transfer = Transfer(
        transfer_id=f"grant:{lease_id}",
        debit=ask.account,
        credit=lease_account(lease_id),
        amount=amount,
        purpose=TransferPurpose.LEASE,
    )
    await apply_transfers(connection, [transfer], now)
    values = {
        "lease_id": lease_id,
        "tenant": ask.tenant,
        "account": ask.account,
        "router": router,
        "epoch": ask.epoch,
        "amount": amount,
        "not_after_ms": not_after_ms,
        "now": now,
    }
    await connection.execute(sql.ADD_LEASE, values)
    return CreditLease(
        result=LeaseResult.GRANTED,
        account=ask.account,
        lease_id=lease_id,
        amount=amount,
        not_after_unix_ms=not_after_ms,
        available=min(available - amount, _LARGEST),
    )


async def _give_back(
    connection: AsyncConnection, leases: list[tuple[LeaseRow, int, LeaseState]], now: datetime
) -> None:
    """Return these amounts of locked leases to their accounts."""
    transfers: list[Transfer] = []
    changed: list[LeaseRow] = []
    for lease, amount, closed_as in leases:
        given_back = lease.balance.given_back + amount
        balance = LeaseBalance(lease.balance.amount, given_back, lease.balance.settled)
        changed.append(lease.with_balance(balance, closed_as))
        transfers.append(
            Transfer(
                transfer_id=f"back:{lease.lease_id}:{given_back}",
                debit=lease_account(lease.lease_id),
                credit=lease.account,
                amount=amount,
                purpose=TransferPurpose.RETURN,
            )
        )
    if transfers:
        await apply_transfers(connection, transfers, now)
        await write_leases(connection, changed, now)
