"""How long a request's records are waited for: decisions and attempts arrive in either order, or never."""

from datetime import UTC, datetime
from typing import cast

import pytest

from keyferry.cli import explain
from keyferry.cli.connection import OperatorConnection
from keyferry.cli.problem import Problem
from keyferry.cli.request_trace import RequestTrace, fetch_trace
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.route import Decision, DecisionRecord, GetDecision
from keyferry.contracts.usage import Attempts, GetAttempts, LedgerRow, Outcome
from tests.support.ledger.request_records import REQUEST_ID, decision, ledger_row

OVERLOADED = Failure(failure_class=FailureClass.OVERLOADED, message="the gateway cannot take another attempt right now")
FIRST = decision().model_copy(update={"attempt_id": "att_1"})
SECOND = FIRST.model_copy(update={"attempt_id": "att_2", "attempt_number": 2, "decision_id": "dec_2"})
COMPLETED = ledger_row()
FAILED = ledger_row(outcome=Outcome.FAILED)
FAILED_NOW = FAILED.model_copy(update={"recorded_at": datetime(2999, 1, 1, tzinfo=UTC)})
AFTER_FAILURE = ledger_row(attempt_id="att_2", number=2)
REFUSED_BY_A_WORKER = decision([], [], OVERLOADED).model_copy(
    update={"decision_id": "dec_2", "attempt_number": 2, "attempt_refused": True}
)
PLANNED_AGAIN = SECOND.model_copy(update={"attempt_refused": True})

Records = tuple[list[DecisionRecord], list[LedgerRow]]


class Ledger:
    """Answers each poll with the next of `polls`, and from then on with the last one."""

    def __init__(self, *polls: Records) -> None:
        self._polls = list(polls)
        self.asked = 0

    async def ask(self, _: object, question: GetDecision | GetAttempts) -> Decision | Attempts:
        decisions, attempts = self._polls[min(self.asked, len(self._polls) - 1)]
        if isinstance(question, GetDecision):
            return Decision(record=decisions[0] if decisions else None, later=decisions[1:])
        self.asked += 1
        return Attempts(rows=attempts)


async def fetch(ledger: Ledger, within_seconds: float = 60.0) -> RequestTrace:
    return await fetch_trace(cast(OperatorConnection, ledger), "demo", REQUEST_ID, None, within_seconds)


@pytest.mark.parametrize(
    ("early", "complete"),
    [
        (([], []), ([FIRST], [COMPLETED])),
        (([], [COMPLETED]), ([FIRST], [COMPLETED])),
        (([FIRST], []), ([FIRST], [COMPLETED])),
        (([FIRST], [FAILED, AFTER_FAILURE]), ([FIRST, SECOND], [FAILED, AFTER_FAILURE])),
        (([FIRST, SECOND], [FAILED]), ([FIRST, SECOND], [FAILED, AFTER_FAILURE])),
        (([FIRST], [FAILED_NOW]), ([FIRST, SECOND], [FAILED_NOW, AFTER_FAILURE])),
    ],
    ids=["nothing", "no decision", "no attempt", "no second decision", "no second attempt", "failed just now"],
)
async def test_a_record_that_comes_one_poll_later_is_waited_for(early: Records, complete: Records) -> None:
    ledger = Ledger(early, complete)
    trace = await fetch(ledger)
    assert ([trace.decision, *trace.later], trace.attempts) == complete
    assert trace.missing() == []
    assert ledger.asked == 2


@pytest.mark.parametrize(
    "complete",
    [
        ([FIRST], [COMPLETED]),
        ([FIRST], [FAILED]),
        ([decision(order=[])], []),
        ([FIRST, REFUSED_BY_A_WORKER], []),
        ([FIRST, PLANNED_AGAIN], [AFTER_FAILURE]),
    ],
    ids=["completed", "failed a while ago", "nothing was planned", "refused by a worker", "planned again for a worker"],
)
async def test_a_complete_trace_is_not_waited_for(complete: Records) -> None:
    ledger = Ledger(complete)
    await fetch(ledger)
    assert ledger.asked == 1


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        (([], []), ["the decision record"]),
        (([], [COMPLETED]), ["the decision record"]),
        (([FIRST], [FAILED, AFTER_FAILURE]), ["the decision for attempt 2"]),
        (([FIRST, SECOND], [FAILED]), ["the row of attempt 2"]),
        (([FIRST, PLANNED_AGAIN], []), ["the row of attempt 2"]),
    ],
)
async def test_a_record_that_never_comes_is_named_after_a_bounded_time(records: Records, missing: list[str]) -> None:
    ledger = Ledger(records)
    assert (await fetch(ledger, within_seconds=0.2)).missing() == missing
    assert ledger.asked > 1


async def test_an_unknown_request_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "EXPLAIN_TIMEOUT_SECONDS", 0.0)
    with pytest.raises(Problem, match=f"no record of {REQUEST_ID} for the tenant demo"):
        await explain._explain(cast(OperatorConnection, Ledger(([], []))), "demo", REQUEST_ID, as_json=False)


async def test_explain_shows_what_there_is_and_fails_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(explain, "EXPLAIN_TIMEOUT_SECONDS", 0.0)
    with pytest.raises(Problem, match="the decision record of this request had not reached the ledger"):
        await explain._explain(cast(OperatorConnection, Ledger(([], [COMPLETED]))), "demo", REQUEST_ID, as_json=False)
    assert "  1. echo, model echo: completed (stop)" in capsys.readouterr().out


def test_attempts_that_a_worker_refused_have_no_row() -> None:
    handed_back = RequestTrace("demo", REQUEST_ID, FIRST, [AFTER_FAILURE], [PLANNED_AGAIN])
    assert (handed_back.made_of(2), handed_back.missing(2)) == (1, [])
    refused_later = RequestTrace(
        "demo", REQUEST_ID, FIRST, [], [SECOND, REFUSED_BY_A_WORKER.model_copy(update={"attempt_number": 3})]
    )
    assert (refused_later.made_of(1), refused_later.missing(1)) == (1, ["the attempt's row"])
