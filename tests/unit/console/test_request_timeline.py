"""Where the time of a request went, and its decisions in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

from keyferry.contracts import ids
from keyferry.contracts.drop_reason import DropReason
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.route import AppliedPreference, Candidate, ConsideredModel, DecisionRecord
from keyferry.contracts.usage import KeySource, LedgerRow, Outcome
from services.console.decision_steps import WORDS, StepKind, explain
from services.console.request_timeline import TimelineKind, TimelineStep, build_timeline
from tests.support.ledger.attempt_records import attempt_record, decision_record

BEGUN = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECEIVED, ROUTING, BACKOFF, HANDOVER, ATTEMPT, RECORDING = TimelineKind


def after(milliseconds: float) -> datetime:
    return BEGUN + timedelta(milliseconds=milliseconds)


def request_id(milliseconds: int = 0) -> str:
    return ids.new(ids.REQUEST, unix_ms=int(BEGUN.timestamp() * 1000) + milliseconds)


def row(**changes: Any) -> LedgerRow:
    recorded_at = changes.pop("recorded_at")
    return LedgerRow(record=attempt_record(**changes), pricing="free", recorded_at=recorded_at)


def shown(steps: list[TimelineStep]) -> list[tuple[TimelineKind, int, int, int]]:
    return [(step.kind, step.attempt_number, step.offset_ms, step.duration_ms) for step in steps]


def test_a_retried_request_shows_each_wait_and_attempt() -> None:
    first = decision_record(decided_at=after(7), duration_us=4_000, attempt_id="att_1")
    second = decision_record(
        decided_at=after(110), duration_us=2_000, attempt_id="att_2", attempt_number=2, delay_ms=200
    )
    failed = row(
        attempt_id="att_1",
        started_at=after(9),
        latency_ms=95,
        first_token_ms=None,
        outcome=Outcome.FAILED,
        failure=Failure(failure_class=FailureClass.RATE_LIMIT, message="slow down"),
        recorded_at=after(300),
    )
    completed = row(
        attempt_id="att_2",
        attempt_number=2,
        started_at=after(315),
        latency_ms=500,
        first_token_ms=80,
        recorded_at=after(1_000),
    )
    steps = build_timeline(request_id(), [second, first], [failed, completed])
    assert shown(steps) == [
        (RECEIVED, 1, 0, 3),
        (ROUTING, 1, 3, 4),
        (HANDOVER, 1, 7, 2),
        (ATTEMPT, 1, 9, 95),
        (RECORDING, 1, 104, 196),
        (ROUTING, 2, 108, 2),
        (BACKOFF, 2, 110, 200),
        (HANDOVER, 2, 310, 5),
        (ATTEMPT, 2, 315, 500),
        (RECORDING, 2, 815, 185),
    ]
    attempt = steps[8]
    assert (attempt.first_token_ms, attempt.outcome, attempt.detail) == (80, Outcome.COMPLETED, "echo/echo")


def test_an_id_that_says_nothing_of_the_request_is_left_out() -> None:
    decision = decision_record(decided_at=after(5), duration_us=1_000)
    for strange in ("my-own-id", "req_0001", request_id(-120_000), request_id(4_001)):
        assert [step.kind for step in build_timeline(strange, [decision], [])] == [ROUTING], strange
    assert build_timeline(request_id(), [], []) == []


def test_clocks_that_differ_make_no_negative_step() -> None:
    decision = decision_record(decided_at=after(50), duration_us=1_000, attempt_id="att_1", delay_ms=30)
    early = row(attempt_id="att_1", started_at=after(20), latency_ms=10, recorded_at=after(5))
    steps = build_timeline(request_id(), [decision], [early])
    assert all(step.duration_ms >= 0 and step.offset_ms >= 0 for step in steps)
    unknown = row(attempt_id="att_2", started_at=after(0), latency_ms=10, recorded_at=after(20))
    assert [step.kind for step in build_timeline("x", [], [unknown])] == [ATTEMPT, RECORDING]


def candidate(model: str, reason: DropReason | None = None, detail: str = "the cheapest") -> Candidate:
    return Candidate(
        provider="openai", model=model, key_source=KeySource.BYOK, kept=reason is None, reason=reason, detail=detail
    )


def decided(**changes: Any) -> DecisionRecord:
    outside = DropReason.OUTSIDE_EU
    candidates = [
        candidate("a", outside, "in the US"),
        candidate("b"),
        candidate("c", DropReason.UNHEALTHY, "open since 14:02"),
        candidate("d", outside, "in Asia"),
        candidate("e", detail="dearer"),
    ]
    return decision_record(**{"candidates": candidates, "order": [1, 4], "model_asked": "auto"} | changes)


def test_a_decision_says_what_was_removed_and_how_much_is_left() -> None:
    decision = decided(
        power_level=PowerLevel.ECO,
        operation="summarize",
        preferences=[AppliedPreference(name="eu_only", value="true", origin="tenant", origin_id="acme")],
        models=[
            ConsideredModel(model="x", planned=False, detail="below the level"),
            ConsideredModel(model="b", detail=""),
        ],
    )
    found = explain(decision)
    assert found.chosen == "openai/b"
    assert [(step.kind, step.removed, step.left) for step in found.steps] == [
        (StepKind.ASKED, 0, None),
        (StepKind.PREFERENCE, 0, None),
        (StepKind.MODELS, 1, None),
        (StepKind.FILTER, 1, 4),
        (StepKind.FILTER, 2, 2),
        (StepKind.CHOSEN, 0, 2),
    ]
    assert found.steps[0].text == "asked for auto at the level eco for summarize"
    assert found.steps[1].text == "eu_only is true, from tenant acme"
    assert found.steps[4].text == f"removed 2: {WORDS[DropReason.OUTSIDE_EU]}"
    assert found.steps[4].examples == ["openai/a: in the US", "openai/d: in Asia"]
    assert found.steps[-1].text == "openai/b: the cheapest; 1 more could follow"
    removed = sum(step.removed for step in found.steps if step.kind is StepKind.FILTER)
    assert removed + len(decision.order) == len(decision.candidates)


def test_a_refusal_ends_with_its_message() -> None:
    failure = Failure(failure_class=FailureClass.INTERNAL, message="no model is left")
    found = explain(decided(refusal=failure, order=[]))
    assert (found.chosen, found.steps[-1].kind, found.steps[-1].text) == (None, StepKind.REFUSED, "no model is left")


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(DropReason)
    assert len(set(WORDS.values())) == len(WORDS)
