"""What tenants owe, and how credits pay it: before anything else can be paid with them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.accounts import DEBTS, PAYMENTS, Unit, debt_account
from keyferry.contracts.credit import credits_account
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.accounts.credit_events import announce
from services.usage_ledger.accounts.posting import Balance
from services.usage_ledger.accounts.store import apply_transfers, lock_accounts, open_accounts
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.database import TransactionalStore

_DUE = text("""
SELECT substr(debt.name, 6) AS tenant FROM usage_ledger.accounts AS debt
JOIN usage_ledger.accounts AS credits ON credits.name = 'credits/' || substr(debt.name, 6)
WHERE debt.kind = 'debt' AND debt.is_positive
    AND credits.credits_posted > credits.debits_posted + credits.debits_pending
ORDER BY debt.name LIMIT :most
""")
_MOST = 500


class DebtStore(TransactionalStore):
    """Collects what is owed where credits have come back. Raises DatabaseUnavailable."""

    async def collect(self, now: datetime) -> list[str]:
        """Have credits that leases have returned pay what their tenants owe; return these tenants."""
        async with self.snapshot() as connection:
            tenants = list(await connection.scalars(_DUE, {"most": _MOST}))
        for tenant in tenants:
            async with self.transaction() as connection:
                await pay_debt(connection, tenant, now)
        return tenants


async def lock_with_debt(
    connection: AsyncConnection, tenant: str, *, opened_at: datetime | None = None
) -> dict[str, Balance]:
    """Lock a tenant's credits and debt before any transfer, and what a payment of the debt needs if there is one to pay.

    Without it, two transactions that first post something else could wait for each other's accounts of the platform. With
    `opened_at` those are locked whether or not something is owed, and the account of credits is opened, so that there is one to
    lock first.
    """
    account, debt = credits_account(tenant), debt_account(tenant)
    if opened_at is not None:
        await open_accounts(connection, [Balance(account=account, unit=Unit.MICRO_USD)], opened_at)
    own = await lock_accounts(connection, [account, debt])
    if opened_at is not None or (debt in own and own[debt].posted > 0):
        await lock_accounts(connection, [DEBTS, PAYMENTS])
    return own


async def pay_debt(connection: AsyncConnection, tenant: str, now: datetime) -> int:
    """Pay with a tenant's available credits what it owes, in the caller's transaction; return the amount.

    Guard: the locks of both accounts, of which that of the credits comes first.
    """
    async with as_service(connection):
        account, debt = credits_account(tenant), debt_account(tenant)
        balances = await lock_with_debt(connection, tenant)
        if debt not in balances or account not in balances:
            return 0
        amount = min(balances[debt].posted, balances[account].available)
        if amount <= 0:
            return 0
        transfers = _payment(tenant, balances[debt].debits_posted, amount)
        applied = await apply_transfers(connection, transfers, now)
        await announce(connection, tenant, transfers[:1], applied, now)
        return amount


def _payment(tenant: str, paid_before: int, amount: int) -> Sequence[Transfer]:
    """Return the transfers that pay a part of a debt; their ids are of how much of it is paid with them."""
    name = f"{tenant}:{paid_before + amount}"
    reason = "pays what refunds and disputes could not take back"
    return (
        Transfer(
            transfer_id=f"debt-paid:{name}",
            debit=credits_account(tenant),
            credit=PAYMENTS,
            amount=amount,
            purpose=TransferPurpose.DEBT_PAYMENT,
            reason=reason,
        ),
        Transfer(
            transfer_id=f"debt-settled:{name}",
            debit=debt_account(tenant),
            credit=DEBTS,
            amount=amount,
            purpose=TransferPurpose.DEBT_PAYMENT,
            reason=reason,
        ),
    )
