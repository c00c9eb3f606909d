"""Settlement of holds in the transaction that records their attempts: once each, in two transfers per batch and lease at most.

A charge that finds nothing in its lease has a transfer of its own, which says for good how much of it was not collected.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.accounts import ABSORBED, ALLOWANCES, BUDGETS, REVENUE, AccountKind, lease_account
from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import MAX_AMOUNT, UNCOLLECTED, Transfer, TransferPurpose
from services.usage_ledger.credit.due import AttemptHold, holds_by_lease, transfer_id
from services.usage_ledger.credit.lease_rows import LeaseRow, lock_leases, write_leases
from services.usage_ledger.credit.rules import settle

_PAID_TO = {AccountKind.CREDITS: REVENUE, AccountKind.ALLOWANCE: ALLOWANCES, AccountKind.BUDGET: BUDGETS}
_NO_LEASE = "none"


class CreditSettlement:
    """A projection: what attempts cost is captured of their leases, and the rest of their holds returns to the accounts."""

    def __init__(self) -> None:
        self.uncollected_micro_usd = 0
        """Charges that found nothing in their leases, since this process started: their leases were closed before."""

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
        """Settle the holds of attempts that are new to the table."""
        by_lease = holds_by_lease(rows)
        if not by_lease:
            return
        now = rows[0].recorded_at
        leases = await lock_leases(connection, by_lease)
        transfers: list[Transfer] = []
        changed: list[LeaseRow] = []
        missed: Counter[str] = Counter()
        for lease_id, holds in by_lease.items():
            lease = leases.get(lease_id)
            own: list[AttemptHold] = []
            for one in holds:
                if lease is not None and (one.tenant, one.account) == (lease.tenant, lease.account):
                    own.append(one)
                else:
                    missed[one.attempt_id] += _charge(one)
            if lease is None or not own:
                continue
            done = settle(lease.balance, [one.hold for one in own])
            attempt_ids = [one.attempt_id for one in own]
            transfers += _transfers(lease, attempt_ids, done.captured, done.returned)
            if done.balance != lease.balance:
                changed.append(lease.with_balance(done.balance))
            if done.absorbed and lease.account.startswith(f"{AccountKind.CREDITS}/"):
                for attempt_id, amount in zip(attempt_ids, done.shortfalls, strict=True):
                    missed[attempt_id] += amount
        transfers += self._memos(missed)
        if transfers:
            await apply_transfers(connection, transfers, now)
        await write_leases(connection, changed, now)

    def _memos(self, missed: Mapping[str, int]) -> list[Transfer]:
        """Return the transfers by which the platform pays what was not collected, so that revenue is what was charged."""
        # Records of a broken worker can add up to more than an account may have, and must not keep others out.
        left = MAX_AMOUNT
        memos: list[Transfer] = []
        for attempt_id, amount in missed.items():
            if not (amount := min(amount, left)):
                continue
            left -= amount
            memos.append(
                Transfer(
                    transfer_id=transfer_id("absorbed", _NO_LEASE, [attempt_id]),
                    debit=ABSORBED,
                    credit=REVENUE,
                    amount=amount,
                    purpose=TransferPurpose.ABSORBED,
                    source=UNCOLLECTED,
                    source_id=attempt_id,
                )
            )
        self.uncollected_micro_usd += MAX_AMOUNT - left
        return memos


def _charge(hold: AttemptHold) -> int:
    return hold.hold.due if hold.account.startswith(f"{AccountKind.CREDITS}/") else 0


def _transfers(lease: LeaseRow, attempt_ids: Sequence[str], captured: int, returned: int) -> list[Transfer]:
    source = lease_account(lease.lease_id)
    paid_to = _PAID_TO[AccountKind(lease.account.partition("/")[0])]
    parts = (
        ("settle", paid_to, captured, TransferPurpose.SETTLEMENT),
        ("unused", lease.account, returned, TransferPurpose.RETURN),
    )
    return [
        Transfer(
            transfer_id=transfer_id(name, lease.lease_id, attempt_ids),
            debit=source,
            credit=target,
            amount=amount,
            purpose=purpose,
        )
        for name, target, amount, purpose in parts
        if amount
    ]
