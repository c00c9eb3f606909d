"""The accounting of the chaos tests finds every inconsistency."""

import pytest

from tests.support.clients.stream_clients import ClientResponse
from tests.support.ledger.accounting import disagreements
from tests.support.ledger.attempts_table import LedgerAttempt

WHOLE = ClientResponse(200, {"content-type": "text/event-stream"}, b"data: [DONE]\n\n", closed_well=True)
BROKEN = ClientResponse(0, {}, b"", closed_well=False)


def attempt(outcome: str, where: str | None = None) -> LedgerAttempt:
    failure = None if where is None else {"failure_class": "server", "where": where}
    return LedgerAttempt("att", "req", 1, "a", "detail", "m", outcome, failure, "reported", "worker", 1, 1)


@pytest.mark.parametrize(
    ("ending", "calls", "attempts"),
    [
        (WHOLE, 1, [attempt("completed")]),
        (BROKEN, 1, [attempt("completed")]),
        (BROKEN, 1, [attempt("indeterminate", "no_answer")]),
        (BROKEN, 0, [attempt("indeterminate", "no_answer")]),
        (BROKEN, 0, [attempt("failed", "not_sent")]),
        (BROKEN, 0, []),
        (BROKEN, 1, [attempt("cancelled", "mid_stream")]),
        (WHOLE, 1, [attempt("indeterminate", "no_answer"), attempt("completed")]),
    ],
)
def test_consistent_records_have_no_disagreement(
    ending: ClientResponse, calls: int, attempts: list[LedgerAttempt]
) -> None:
    assert list(disagreements({"a": ending}, {"a": calls}, {"a": attempts})) == []


@pytest.mark.parametrize(
    ("ending", "calls", "attempts", "said"),
    [
        (WHOLE, 1, [], "called 1 times and has 0"),
        (BROKEN, 1, [], "called 1 times and has 0"),
        (WHOLE, 1, [attempt("cancelled", "mid_stream")], "delivered whole"),
        (WHOLE, 2, [attempt("completed"), attempt("indeterminate")], "paid 2 times"),
        (BROKEN, 0, [attempt("completed")], "answered and 0 calls"),
        (BROKEN, 1, [attempt("failed", "mid_stream"), attempt("completed")], "2 attempts that were answered"),
        (WHOLE, 2, [attempt("completed"), attempt("completed")], "completed 2 times"),
    ],
)
def test_each_inconsistency_is_reported(
    ending: ClientResponse, calls: int, attempts: list[LedgerAttempt], said: str
) -> None:
    assert said in "; ".join(disagreements({"a": ending}, {"a": calls}, {"a": attempts}))
