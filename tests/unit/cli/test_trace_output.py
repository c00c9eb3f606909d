"""A request's trace as text and as JSON."""

import json
from decimal import Decimal

from keyferry.cli.request_trace import RequestTrace
from keyferry.cli.trace_output import format_trace, trace_to_json, usage_to_json
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.route import ConsideredModel, DecisionRecord
from keyferry.contracts.rules import AppliedRule
from keyferry.contracts.usage import LedgerRow, Outcome, TokenUsage, UsageSource
from tests.support.ledger.request_records import DROPPED, ECHO, REQUEST_ID, TRACE_ID, decision, ledger_row


def _trace(record: DecisionRecord | None, *rows: LedgerRow) -> RequestTrace:
    return RequestTrace("demo", REQUEST_ID, record, list(rows))


def test_complete_trace_is_formatted() -> None:
    assert format_trace(_trace(decision(), ledger_row())) == [
        "Route     demo asked for echo; router decided in 1.234 ms (dec_1)",
        "  kept 1. echo: the built-in echo was requested by name",
        "  dropped ollama/echo: the endpoint ollama does not list echo [model_not_offered]",
        "  chosen: echo, no key needed",
        "Attempts",
        "  1. echo, model echo: completed (stop)",
        "     tokens   input 5, cached read 2, output 7, as the provider reported",
        "     cost     $0.000012 at prices 2026-01",
        "     latency  40 ms, first token after 9 ms",
        "     ledger   att_1, recorded 2026-01-31 12:00:00Z, 100 ms after the attempt ended",
        f"Trace     {TRACE_ID}",
        f"Request   {REQUEST_ID}",
        f"Spans     `trace {REQUEST_ID}` shows where its time went",
    ]


def test_plan_is_listed_in_order() -> None:
    second = ECHO.model_copy(update={"model": "echo-2"})
    lines = format_trace(_trace(decision([ECHO, DROPPED, second], [2, 0]), ledger_row()))
    assert [line.split(":")[0].strip() for line in lines[1:4]] == [
        "kept 1. echo/echo-2",
        "kept 2. echo",
        "dropped ollama/echo",
    ]
    assert lines[4] == "  chosen: echo/echo-2, no key needed"


def test_a_delayed_fallback_says_so() -> None:
    later = decision().model_copy(update={"delay_ms": 312, "fallback_reason": FailureClass.OVERLOADED})
    lines = format_trace(_trace(later, ledger_row()))
    assert "  chosen: echo, no key needed, after 312 ms" in lines
    assert "  not the first choice: overloaded" in lines


def test_refusal_shows_its_reason_and_no_attempts() -> None:
    refusal = Failure(failure_class=FailureClass.POLICY, message="the client token may not use echo")
    lines = format_trace(_trace(decision([DROPPED], [], refusal)))
    assert "  refused: the client token may not use echo (policy)" in lines
    assert not any(line.startswith(("Attempts", "  chosen")) for line in lines)


def test_a_refusal_by_a_worker_is_no_missing_record() -> None:
    refusal = Failure(
        failure_class=FailureClass.OVERLOADED, message="the gateway cannot take another attempt right now"
    )
    first = decision().model_copy(update={"attempt_id": "att_1"})
    refused = decision([], [], refusal).model_copy(
        update={"router": "worker-1", "decision_id": "dec_2", "attempt_number": 2, "attempt_refused": True}
    )
    lines = format_trace(RequestTrace("demo", REQUEST_ID, first, [], [refused]))
    assert lines[4:6] == [
        "Route     worker-1 did not make attempt 1 (dec_2)",
        "  refused: the gateway cannot take another attempt right now (overloaded)",
    ]
    assert not any(line.startswith("Attempts") for line in lines)
    again = first.model_copy(update={"attempt_number": 2, "attempt_refused": True})
    lines = format_trace(RequestTrace("demo", REQUEST_ID, first, [ledger_row(attempt_id="att_2", number=2)], [again]))
    assert lines[4].startswith("Route     after a worker had refused attempt 1; router decided")


def test_failed_attempt_shows_where_it_failed_and_the_providers_message() -> None:
    failure = Failure(
        failure_class=FailureClass.OVERLOADED, message="the model is busy", where=Where.HTTP_STATUS, status=503
    )
    failed = ledger_row(outcome=Outcome.FAILED, failure=failure)
    lines = format_trace(_trace(decision(), failed, ledger_row(attempt_id="att_2", number=2)))
    assert "  1. echo, model echo: failed" in lines
    assert "     failure  the model is busy (overloaded, http_status, status 503)" in lines
    assert "     latency  40 ms, no token arrived" in lines
    assert "  2. echo, model echo: completed (stop)" in lines


def test_unknown_and_free_costs_are_distinguished() -> None:
    unpriced = format_trace(_trace(decision(), ledger_row(cost_usd=None, pricing="unpriced")))
    assert "     cost     unknown: the model has no price in prices 2026-01" in unpriced
    free = format_trace(_trace(decision(), ledger_row(cost_usd=Decimal(0), pricing="free", price_version=None)))
    assert "     cost     $0, free of charge" in free


def test_unstreamed_answer_has_no_first_token_and_unknown_usage_no_number() -> None:
    row = ledger_row()
    changes = {"stream": False, "first_token_ms": None, "token_usage": TokenUsage(), "usage_source": UsageSource.NONE}
    lines = format_trace(_trace(decision(), row.model_copy(update={"record": row.record.model_copy(update=changes)})))
    assert "     latency  40 ms, not streamed" in lines
    assert "     tokens   none, or unknown" in lines


def test_missing_records_are_named() -> None:
    lines = format_trace(_trace(None))
    assert lines[0] == "Route     the decision record has not reached the ledger"
    assert lines[1] == "Attempts  none has reached the ledger"
    assert _trace(None).missing(1) == ["the decision record", "the attempt's row"]
    assert _trace(decision(), ledger_row()).missing(2) == ["the rows of the attempts"]
    assert _trace(decision()).missing(0) == []


def test_json_output_has_exact_amounts() -> None:
    data = json.loads(json.dumps(trace_to_json(_trace(decision(), ledger_row()))))
    assert data["attempts"][0]["cost_usd"] == "0.000012"
    assert data["decision"]["candidates"][0]["reason"] == "model_not_offered"
    assert data["trace_id"] == TRACE_ID


def test_trace_id_of_a_refused_request_comes_from_the_decision() -> None:
    assert _trace(decision()).trace_id == TRACE_ID
    assert _trace(None).trace_id is None


def test_usage_and_cost_are_of_all_attempts() -> None:
    failed = ledger_row(outcome=Outcome.FAILED, cost_usd=Decimal(0), pricing="free")
    both = [failed, ledger_row(attempt_id="att_2", number=2)]
    assert usage_to_json(both, 2) == {
        "usage": {"prompt_tokens": 14, "completion_tokens": 14, "total_tokens": 28, "source": "reported"},
        "cost_usd": "0.000012",
    }


def test_cost_is_unknown_unless_every_attempt_is_recorded_and_priced() -> None:
    unpriced = ledger_row(attempt_id="att_2", number=2, cost_usd=None, pricing="unpriced")
    assert usage_to_json([ledger_row(), unpriced], 2)["cost_usd"] == "unknown"
    assert usage_to_json([ledger_row()], 2) == {"usage": None, "cost_usd": "unknown"}
    assert usage_to_json([], 1) == {"usage": None, "cost_usd": "unknown"}


def test_a_request_without_an_attempt_cost_nothing() -> None:
    assert usage_to_json([], 0) == {"usage": None, "cost_usd": "0"}


def test_the_choice_of_models_is_shown_where_the_request_left_it_open() -> None:
    models = [
        ConsideredModel(model="small", detail="the cheapest that fits"),
        ConsideredModel(model="blind", planned=False, detail="it takes no images"),
    ]
    record = decision().model_copy(update={"operation": "summary", "power_level": PowerLevel.ECO, "models": models})
    assert format_trace(_trace(record))[1:4] == [
        "  with operation summary, power level eco",
        "  model small: the cheapest that fits",
        "  model blind passed over: it takes no images",
    ]


def test_the_rule_that_chose_the_models_is_named() -> None:
    rule = AppliedRule(owner="platform", version=7, rule="code-to-claude")
    lines = format_trace(_trace(decision().model_copy(update={"rule": rule})))
    assert "  by the rule code-to-claude of platform, version 7" in lines
