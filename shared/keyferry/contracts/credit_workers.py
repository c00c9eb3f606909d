"""What the ledger knows of workers whose attempts hold credit, and the end of one that will never come back. Pure."""

from keyferry.contracts.credit import AccountName, Amount
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor
from keyferry.contracts.text import Count, Identifier, Moment, Reported


class ListCreditWorkers(Command):
    """Request what is known of the workers."""


class CreditWorker(Message):
    """How far the attempts in one spool of a worker are settled."""

    worker: Identifier
    spool_id: Reported
    """Empty if the worker did not name it."""
    settled_until: Moment | None = None
    """Leases that ended before are not waiting for it; null if it has stopped with everything settled."""
    seen_at: Moment
    """When its last report was recorded."""
    blocks: bool
    """Whether ended leases wait for it: it reports nothing, or an attempt is still without a record."""
    replaced_by: Reported | None = None
    """The spool from which its worker reports since this one is silent: this one was emptied or lost, or may come back."""


class WaitingCredit(Message):
    """What is in leases of an account that have ended and are not released yet."""

    account: AccountName
    leases: Count
    amount: Amount


class CreditWorkers(Message):
    """The workers, and what waits for them."""

    workers: list[CreditWorker]
    waiting: list[WaitingCredit]
    """The accounts with the most waiting."""


class DeclareWorkerLost(Command):
    """Wait no longer for the records of a worker that will never send them. What its last attempts cost is not collected."""

    worker: Identifier
    spool_id: Identifier | None = None
    """Only this spool; null means every one that reports nothing any more."""
    actor: Actor = "operator"


class WorkerDeclaredLost(Message):
    """The spools that are not waited for any more."""

    worker: Identifier
    spools: list[Reported]
