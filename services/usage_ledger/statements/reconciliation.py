"""From the charges of the attempts that began in a month to the charges that were posted in it. Pure."""

from dataclasses import dataclass

from keyferry.contracts.statements import (
    ReconciliationKind,
    ReconciliationLine,
    StatementEntryKind,
    StatementReconciliation,
)
from services.usage_ledger.statements.account_sums import CHARGES, PostedSums


@dataclass(frozen=True, slots=True)
class CountedAmount:
    """How many attempts have an amount, and the amount in micro-dollars."""

    attempts: int
    amount: int


@dataclass(frozen=True, slots=True)
class ReconciledAttempts:
    """What is found among the attempts that are still there."""

    recorded_elsewhere: CountedAmount
    """Begun in the month, recorded in another; the charge as it was recorded."""
    begun_elsewhere: CountedAmount
    """Recorded in the month, begun in another."""
    rerated: CountedAmount
    """What re-ratings changed of those that began in the month."""
    uncollected: CountedAmount
    """Charges recorded in the month that found nothing to be taken from."""


def reconcile(usage_micro_usd: int, posted: PostedSums, found: ReconciledAttempts) -> StatementReconciliation:
    """Return the lines that lead from the charges of the month's attempts to what charges and corrections took in the month."""
    taken = -posted.total(CHARGES)
    corrections = StatementEntryKind.CORRECTION
    lines = [
        _line(ReconciliationKind.RECORDED_IN_OTHER_MONTH, found.recorded_elsewhere, -1),
        _line(ReconciliationKind.BEGUN_IN_OTHER_MONTH, found.begun_elsewhere),
        _line(ReconciliationKind.RERATED, found.rerated, -1),
        _line(ReconciliationKind.CORRECTIONS, CountedAmount(0, -posted.total((corrections,)))),
        _line(ReconciliationKind.UNCOLLECTED, found.uncollected, -1),
    ]
    explained = usage_micro_usd + sum(line.amount_micro_usd for line in lines)
    lines.append(_line(ReconciliationKind.REMOVED, CountedAmount(0, taken - explained)))
    return StatementReconciliation(
        usage_micro_usd=usage_micro_usd,
        lines=[line for line in lines if line.attempts or line.amount_micro_usd],
        posted_micro_usd=taken,
    )


def _line(kind: ReconciliationKind, counted: CountedAmount, sign: int = 1) -> ReconciliationLine:
    return ReconciliationLine(kind=kind, attempts=counted.attempts, amount_micro_usd=sign * counted.amount)
