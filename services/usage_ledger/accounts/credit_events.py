"""The events about credits that something else than requests has changed, committed with the transfers."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.accounts import debt_account
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import CreditEntryKind, from_micro_usd
from keyferry.contracts.payment_management import CREDIT_POSTED
from keyferry.contracts.payments import CreditPosted
from keyferry.runtime.database.event_outbox import enqueue_event
from services.usage_ledger.accounts.store import AppliedTransfers, read_balances, read_held
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.database import EVENT_OUTBOX

ENTRY_KINDS = {
    TransferPurpose.GRANT: CreditEntryKind.GRANT,
    TransferPurpose.SETTLEMENT: CreditEntryKind.USAGE,
    TransferPurpose.RERATING: CreditEntryKind.CORRECTION,
    TransferPurpose.PURCHASE: CreditEntryKind.PURCHASE,
    TransferPurpose.REFUND: CreditEntryKind.REFUND,
    TransferPurpose.DISPUTE: CreditEntryKind.DISPUTE,
    TransferPurpose.DISPUTE_WON: CreditEntryKind.DISPUTE_WON,
    TransferPurpose.FAILED_REFUND: CreditEntryKind.FAILED_REFUND,
    TransferPurpose.DEBT: CreditEntryKind.DEBT,
    TransferPurpose.DEBT_PAYMENT: CreditEntryKind.DEBT_PAYMENT,
    TransferPurpose.FORFEIT: CreditEntryKind.FORFEIT,
}
"""The kind of the entry in the history; any other purpose is an adjustment."""


async def announce(
    connection: AsyncConnection,
    tenant: str,
    transfers: Sequence[Transfer],
    applied: AppliedTransfers,
    now: datetime,
) -> None:
    """Publish an event for each of these transfers that is new, once the caller's transaction is committed."""
    account, debt = credits_account(tenant), debt_account(tenant)
    new = [each for each in transfers if each.transfer_id in applied.new]
    if not new:
        return
    balances = await read_balances(connection, [account, debt])
    held = (await read_held(connection, [account])).get(account, 0)
    balance = balances[account].posted + held if account in balances else 0
    owed = balances[debt].posted if debt in balances else 0
    for each in new:
        change = each.amount * ((each.credit == account) - (each.debit == account))
        event = CreditPosted(
            event_id=each.transfer_id,
            tenant=tenant,
            kind=ENTRY_KINDS.get(each.purpose, CreditEntryKind.ADJUSTMENT).value,
            credits=from_micro_usd(change),
            balance=from_micro_usd(balance),
            owed=from_micro_usd(owed),
            source=each.source,
            source_id=each.source_id,
            at=now,
        )
        await enqueue_event(connection, EVENT_OUTBOX, CREDIT_POSTED.address(event), each.transfer_id, event.encode())
