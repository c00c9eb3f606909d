"""The rules of double entry: what transfers do to the balances of their accounts, in order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from keyferry.contracts.accounts import AccountKind, Unit, kind_of
from keyferry.contracts.text import BIGINT_MAX
from services.usage_ledger.accounts.transfer import (
    MAX_AMOUNT,
    RESOLUTIONS,
    InsufficientFunds,
    PendingConflict,
    Transfer,
    TransferPhase,
    TransferRefused,
    may_pay,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The sums of an account's transfers: four numbers that only grow, except the pending ones."""

    account: str
    unit: Unit
    parent: str | None = None
    """For a lease: the account that it was leased of."""
    debits_posted: int = 0
    credits_posted: int = 0
    debits_pending: int = 0
    credits_pending: int = 0

    @property
    def posted(self) -> int:
        """What was paid in and not paid out."""
        return self.credits_posted - self.debits_posted

    @property
    def available(self) -> int:
        """What can be paid out: what is set aside for pending transfers cannot."""
        return self.posted - self.debits_pending


@dataclass(frozen=True, slots=True)
class PendingTransfer:
    """A transfer that was set aside, and the id of the one that resolved it."""

    transfer: Transfer
    resolved_by: str | None = None


def open_account(account: str, transfer: Transfer) -> Balance:
    """Return an account that this transfer, its first, opens."""
    is_lease = kind_of(account) is AccountKind.LEASE
    return Balance(account=account, unit=transfer.unit, parent=transfer.debit if is_lease else None)


def post(
    balances: Mapping[str, Balance],
    pending: Mapping[str, PendingTransfer],
    transfers: Sequence[Transfer],
    now: datetime,
) -> dict[str, Balance]:
    """Return the balances after these new transfers, which are posted in the given order.

    `balances` has every account of theirs that exists, and `pending` every transfer that they resolve. Raises TransferRefused.
    """
    after = dict(balances)
    open_pending = dict(pending)
    for transfer in transfers:
        check_form(transfer)
        if transfer.debit not in after:
            raise InsufficientFunds(transfer, transfer.debit, 0)
        _check_lease(transfer, after)
        debit, credit = after[transfer.debit], after[transfer.credit]
        released = 0
        if transfer.pending_id is not None:
            released = _resolve(transfer, open_pending, now)
        elif transfer.phase is TransferPhase.PENDING:
            open_pending[transfer.transfer_id] = PendingTransfer(transfer)
        counted = transfer.amount if transfer.phase in (TransferPhase.POSTED, TransferPhase.POST) else 0
        aside = (transfer.amount if transfer.phase is TransferPhase.PENDING else 0) - released
        after[debit.account] = replace(
            debit, debits_posted=debit.debits_posted + counted, debits_pending=debit.debits_pending + aside
        )
        after[credit.account] = replace(
            credit, credits_posted=credit.credits_posted + counted, credits_pending=credit.credits_pending + aside
        )
        _check_balance(transfer, debit, after[debit.account])
        _check_size(transfer, after[debit.account], after[credit.account])
    return after


def check_form(transfer: Transfer) -> None:
    """Raise TransferRefused for what can be seen in the transfer alone."""
    if not 0 < transfer.amount <= MAX_AMOUNT:
        raise TransferRefused(transfer, f"its amount has to be 1 to {MAX_AMOUNT}")
    _ = transfer.unit
    if not may_pay(transfer.debit, transfer.credit):
        raise TransferRefused(transfer, f"{transfer.debit} may not pay {transfer.credit}")
    if (transfer.phase in RESOLUTIONS) != (transfer.pending_id is not None):
        raise TransferRefused(transfer, "exactly those that resolve a pending transfer name it")
    if transfer.expires_at is not None and transfer.phase is not TransferPhase.PENDING:
        raise TransferRefused(transfer, "only a pending transfer expires")
    if (transfer.source is None) != (transfer.source_id is None):
        raise TransferRefused(transfer, "a source and its id go together")


def _check_lease(transfer: Transfer, balances: Mapping[str, Balance]) -> None:
    debit, credit = balances[transfer.debit], balances[transfer.credit]
    if credit.parent is not None and credit.parent != debit.account:
        raise TransferRefused(transfer, f"{credit.account} is a lease of {credit.parent}")
    may_leave = credit.account == debit.parent or kind_of(credit.account) is AccountKind.PLATFORM
    if debit.parent is not None and not may_leave:
        raise TransferRefused(transfer, f"{debit.account} is a lease of {debit.parent}")
    if {debit.unit, credit.unit} != {transfer.unit}:
        raise TransferRefused(transfer, "its two accounts are not kept in the same unit")


def _resolve(transfer: Transfer, pending: dict[str, PendingTransfer], now: datetime) -> int:
    """Mark what `transfer` resolves, and return the amount that was set aside. Raises PendingConflict."""
    assert transfer.pending_id is not None
    found = pending.get(transfer.pending_id)
    if found is None or found.transfer.phase is not TransferPhase.PENDING:
        raise PendingConflict(transfer, f"there is no pending transfer {transfer.pending_id}")
    if found.resolved_by is not None:
        raise PendingConflict(transfer, f"{transfer.pending_id} was resolved by {found.resolved_by}")
    original = found.transfer
    if (original.debit, original.credit) != (transfer.debit, transfer.credit):
        raise PendingConflict(transfer, f"{transfer.pending_id} is between other accounts")
    if transfer.amount > original.amount or (
        transfer.phase is not TransferPhase.POST and transfer.amount != original.amount
    ):
        raise PendingConflict(transfer, f"{original.amount} is pending in {transfer.pending_id}")
    has_expired = original.expires_at is not None and now >= original.expires_at
    if has_expired != (transfer.phase is TransferPhase.EXPIRE):
        state = "has expired" if has_expired else "has not expired"
        raise PendingConflict(transfer, f"{transfer.pending_id} {state}")
    pending[transfer.pending_id] = replace(found, resolved_by=transfer.transfer_id)
    return original.amount


def _check_balance(transfer: Transfer, before: Balance, after: Balance) -> None:
    if kind_of(after.account) is not AccountKind.PLATFORM and after.available < 0:
        raise InsufficientFunds(transfer, after.account, before.available)


def _check_size(transfer: Transfer, *balances: Balance) -> None:
    for balance in balances:
        if max(balance.debits_posted, balance.credits_posted) + MAX_AMOUNT > BIGINT_MAX:
            raise TransferRefused(transfer, f"the sums of {balance.account} would become too large to be kept")
