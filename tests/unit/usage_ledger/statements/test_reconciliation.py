"""The lines of a reconciliation lead from the charges of attempts to the posted charges, and name what is left."""

from keyferry.contracts.statements import ReconciliationKind, StatementEntryKind
from services.usage_ledger.statements.account_sums import PostedSums
from services.usage_ledger.statements.reconciliation import CountedAmount, ReconciledAttempts, reconcile

NOTHING = CountedAmount(0, 0)


def found(**changes: CountedAmount) -> ReconciledAttempts:
    names = ("recorded_elsewhere", "begun_elsewhere", "rerated", "uncollected")
    return ReconciledAttempts(**(dict.fromkeys(names, NOTHING) | changes))


def posted(charge: int, correction: int = 0) -> PostedSums:
    sums = PostedSums()
    sums.add(StatementEntryKind.CHARGE, 3, charge)
    if correction:
        sums.add(StatementEntryKind.CORRECTION, 1, correction)
    sums.add(StatementEntryKind.GRANT, 1, 5000)
    return sums


def test_a_month_in_which_nothing_is_late_needs_no_line() -> None:
    answer = reconcile(700, posted(-700), found())
    assert (answer.usage_micro_usd, answer.lines, answer.posted_micro_usd) == (700, [], 700)


def test_every_reason_has_its_sign() -> None:
    reasons = found(
        recorded_elsewhere=CountedAmount(2, 100),
        begun_elsewhere=CountedAmount(1, 30),
        rerated=CountedAmount(4, -50),
        uncollected=CountedAmount(1, 7),
    )
    answer = reconcile(700, posted(-(700 - 100 + 30 + 50 - 7), correction=20), reasons)
    assert {line.kind: line.amount_micro_usd for line in answer.lines} == {
        ReconciliationKind.RECORDED_IN_OTHER_MONTH: -100,
        ReconciliationKind.BEGUN_IN_OTHER_MONTH: 30,
        ReconciliationKind.RERATED: 50,
        ReconciliationKind.CORRECTIONS: -20,
        ReconciliationKind.UNCOLLECTED: -7,
    }
    assert 700 + sum(line.amount_micro_usd for line in answer.lines) == answer.posted_micro_usd == 653


def test_what_no_attempt_explains_any_more_is_named() -> None:
    (line,) = reconcile(0, posted(-123), found()).lines
    assert (line.kind, line.amount_micro_usd) == (ReconciliationKind.REMOVED, 123)
