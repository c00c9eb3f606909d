"""Keeps the account of a budget's window at what may still be spent.

The account gets the limit when it is opened, or a part of a very large one. Leases take shares out of it, and settled attempts
take theirs out of the leases. What else changes how much may be spent is posted as one difference between the account and
`platform/budgets`: another limit, spending that no lease paid for (of attempts without holds, or beyond them), and in rolling
windows spending that has become older than the window. That happens whenever a router asks for a lease, so that no job has to be
in time, and when the limit is changed. If there is less than nothing left, the account has 0: what leases then return is taken
as well, before anything is leased again.
"""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.budgets.windows import WindowSpan, account_name, parse_account, window_at
from keyferry.contracts import ids
from keyferry.contracts.accounts import BUDGETS
from keyferry.contracts.budget import Budget
from services.usage_ledger.accounts.store import apply_transfers, lock_accounts
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.budgets.spending_store import budget_of, read_used

_CLOCKS_DIFFER = timedelta(seconds=60)
"""By how much a router's clock may differ for its window to be accepted: it asks for the next one a little early or late."""
_MOST_AT_ONCE = 10**10
"""Ten thousand dollars. An account gets more of a larger limit when half is used: what is funded and not spent counts in the
sums of `platform/budgets`, which would one day be too large to be kept."""
_TRANSFER = "bft"
"""Prefix of the ids of transfers of this module."""
_LOCK = text("""
SELECT * FROM usage_ledger.budgets WHERE budget_id = :id AND removed_at IS NULL FOR NO KEY UPDATE
""")


async def prepare_account(connection: AsyncConnection, tenant: str, account: str, now: datetime) -> bool:
    """Bring the account of a budget's current window to what may be spent; return False if it is no account of the tenant's.

    Call it in the transaction that leases of the account, before it locks anything. Guards: the lock of the budget, so that its
    limit does not change, and then that of the account.
    """
    found = parse_account(account)
    if found is None:
        return False
    budget = await lock_budget(connection, tenant, found[0])
    if budget is None:
        return False
    moments = (now, now - _CLOCKS_DIFFER, now + _CLOCKS_DIFFER)
    spans = (window_at(budget.window, moment) for moment in moments)
    span = next((span for span in spans if span.label == found[1]), None)
    if span is None:
        return False
    await level(connection, budget, span, now)
    return True


async def lock_budget(connection: AsyncConnection, tenant: str, budget_id: str) -> Budget | None:
    """Lock a budget until the transaction ends, and return it; None if the tenant has none such."""
    row = (await connection.execute(_LOCK, {"id": budget_id})).mappings().one_or_none()
    return budget_of(row) if row is not None and row["tenant"] == tenant else None


async def level_if_open(connection: AsyncConnection, budget: Budget, now: datetime) -> None:
    """Apply a changed limit to the current window, if its account is open. The caller has locked the budget."""
    span = window_at(budget.window, now)
    account = account_name(budget.budget_id, span)
    if account in await lock_accounts(connection, [account]):
        await level(connection, budget, span, now)


async def level(connection: AsyncConnection, budget: Budget, span: WindowSpan, now: datetime) -> None:
    """Open the account of a window unless it is open, and post the difference to what may be spent of it."""
    account = account_name(budget.budget_id, span)
    balance = (await lock_accounts(connection, [account])).get(account)
    if balance is None:
        opening = _transfer(account, min(budget.limit_micro_usd, _MOST_AT_ONCE), TransferPurpose.FUNDING)
        balance = (await apply_transfers(connection, [opening], now)).balances[account]
    held, spent = await read_used(connection, budget.budget_id, span)
    wanted = max(0, budget.limit_micro_usd - spent - held)
    difference = min(wanted, _MOST_AT_ONCE) - balance.available
    has_enough = wanted > _MOST_AT_ONCE and 0 <= difference <= _MOST_AT_ONCE // 2
    if difference and not has_enough:
        await apply_transfers(connection, [_transfer(account, difference, _purpose(difference, span))], now)


def _purpose(difference: int, span: WindowSpan) -> TransferPurpose:
    if difference < 0:
        return TransferPurpose.SETTLEMENT
    return TransferPurpose.FLOW_BACK if span.end is None else TransferPurpose.FUNDING


def _transfer(account: str, amount: int, purpose: TransferPurpose) -> Transfer:
    debit, credit = (BUDGETS, account) if amount > 0 else (account, BUDGETS)
    return Transfer(transfer_id=ids.new(_TRANSFER), debit=debit, credit=credit, amount=abs(amount), purpose=purpose)
