"""Transfers between two accounts, and the reasons why one is refused. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keyferry.contracts.accounts import AccountKind, Unit, kind_of, unit_of

MAX_AMOUNT = 10**15
"""Of one transfer: a thousand million dollars. Ten thousand of them fit the sums of an account."""


UNCOLLECTED = "uncollected charge"
"""The source of transfers by which the platform bears what an attempt was charged; the source's id is the attempt. No payment
can have it, since their sources have no spaces."""


class TransferPurpose(StrEnum):
    """What a transfer is for."""

    GRANT = "grant"
    ADJUSTMENT = "adjustment"
    FUNDING = "funding"
    """An allowance or a budget's window gets its limit, or the difference to a new one."""
    FLOW_BACK = "flow_back"
    """Spending leaves a rolling window, which can be spent again."""
    LEASE = "lease"
    RETURN = "return"
    """The rest of a lease goes back to its account."""
    SETTLEMENT = "settlement"
    """Attempts are charged."""
    ABSORBED = "absorbed"
    RERATING = "rerating"
    """Attempts that were charged by a wrong price are corrected."""
    PURCHASE = "purchase"
    """Credits were paid for."""
    REFUND = "refund"
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"
    FAILED_REFUND = "failed_refund"
    """A refund that was taken back has failed."""
    DEBT = "debt"
    """What a refund or a dispute could not take is owed."""
    DEBT_PAYMENT = "debt_payment"
    """Credits pay what is owed, before anything else can be paid with them."""
    FORFEIT = "forfeit"
    """A deleted tenant's account is emptied."""


class TransferPhase(StrEnum):
    """Whether a transfer counts at once, is set aside, or resolves one that was set aside."""

    POSTED = "posted"
    PENDING = "pending"
    """Set aside on both sides until one of the following resolves it."""
    POST = "post"
    """Count at most what was set aside, and release the rest."""
    VOID = "void"
    EXPIRE = "expire"
    """Release what nobody resolved in time."""


RESOLUTIONS = frozenset({TransferPhase.POST, TransferPhase.VOID, TransferPhase.EXPIRE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """An amount from one account, `debit`, to another, `credit`.

    Its id is chosen by the caller: the same transfer with the same id has no effect when it comes again.
    """

    transfer_id: str
    debit: str
    credit: str
    amount: int
    purpose: TransferPurpose
    phase: TransferPhase = TransferPhase.POSTED
    pending_id: str | None = None
    """The transfer that this one resolves."""
    expires_at: datetime | None = None
    """When a pending transfer can only be expired."""
    reason: str | None = None
    actor: str | None = None
    source: str | None = None
    """The system that caused it, such as a payment provider; together with `source_id` it causes no second transfer."""
    source_id: str | None = None

    @property
    def unit(self) -> Unit:
        """The unit of both sides. Raises TransferRefused if they differ, or if a name is of no account."""
        try:
            units = {unit for unit in (unit_of(self.debit), unit_of(self.credit)) if unit is not None}
        except ValueError:
            raise TransferRefused(self, "one of its accounts is of no known kind") from None
        if len(units) != 1:
            raise TransferRefused(self, "its two accounts are not kept in the same unit")
        return units.pop()


def resolve(pending: Transfer, phase: TransferPhase, transfer_id: str, amount: int | None = None) -> Transfer:
    """Return the transfer that resolves a pending one; `amount`, at most what is pending, is for posting alone."""
    return Transfer(
        transfer_id=transfer_id,
        debit=pending.debit,
        credit=pending.credit,
        amount=pending.amount if amount is None else amount,
        purpose=pending.purpose,
        phase=phase,
        pending_id=pending.transfer_id,
    )


def may_pay(debit: str, credit: str) -> bool:
    """Return whether a transfer from one account to the other is allowed at all.

    What one tenant has never goes to another's account: spendable accounts pay leases and the platform, and leases pay the
    platform and, which the accounts themselves have to show, the account that they were leased of. A debt grows and shrinks by
    the platform's accounts alone. Raises ValueError.
    """
    payer, payee = kind_of(debit), kind_of(credit)
    if payer is AccountKind.PLATFORM:
        return payee is not AccountKind.LEASE and debit != credit
    if payer is AccountKind.LEASE:
        return payee not in (AccountKind.LEASE, AccountKind.DEBT)
    if payer is AccountKind.DEBT:
        return payee is AccountKind.PLATFORM
    return payee in (AccountKind.LEASE, AccountKind.PLATFORM)


class TransferRefused(Exception):
    """A transfer that the rules do not allow; nothing of its transaction may be committed."""

    def __init__(self, transfer: Transfer, reason: str) -> None:
        super().__init__(f"transfer {transfer.transfer_id}: {reason}")
        self.reason = reason


class InsufficientFunds(TransferRefused):
    """The account that pays would be overdrawn."""

    def __init__(self, transfer: Transfer, account: str, available: int) -> None:
        super().__init__(transfer, f"{account} has {available} available, which is less than {transfer.amount}")
        self.account = account
        self.available = available


class TransferConflict(TransferRefused):
    """The id, or the source and its id, belong to another transfer already."""


class PendingConflict(TransferRefused):
    """There is no such pending transfer, it was resolved already, or it may not be resolved in this way now."""
