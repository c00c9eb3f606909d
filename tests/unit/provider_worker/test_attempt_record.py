"""The ledger gets every field of an attempt: one that is added to the contract and set nowhere would stay empty unnoticed."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome, RequestKind, TokenUsage, UsageSource
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.usage_report import NO_REPORT, UsageReport
from services.provider_worker.attempt_end import AttemptEnd
from services.provider_worker.attempt_record import intent_record, reduced_result, result_record
from tests.support.providers.attempt_runs import attempt_run


def test_intent_and_result_set_every_field() -> None:
    intent = intent_record(attempt_run(), worker_id="worker-1", spool_seq=1, started_at=datetime.now(UTC))
    result = result_record(
        intent,
        AttemptEnd(Outcome.COMPLETED),
        Answer(),
        origin="https://llm.example:443",
        body=b"{}",
        deltas=0,
        latency_ms=1,
        first_token_ms=None,
    )
    assert result.model_fields_set == AttemptRecord.model_fields.keys()


ZERO = UsageReport(TokenUsage(), True, True)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DETAILED = attempt_run(model="served-as", key_fields={"region": "eu"}, kind=RequestKind.EMBEDDING).model_copy(
    update={
        "model_asked": "asked",
        "client_token_id": "ct_1",
        "endpoint": "lab",
        "operation": "search",
        "key_id": "key_1",
        "key_source": KeySource.BYOK,
        "stream": True,
        "tags": {"team": "blue"},
        "traceparent": "00-a-b-01",
        "attempt_number": 3,
    }
)
FAILURE = Failure(failure_class=FailureClass.SERVER, message="broken", status=500, where=Where.HTTP_STATUS)


def intent() -> AttemptRecord:
    return intent_record(DETAILED, worker_id="provider-worker-1", spool_seq=7, started_at=NOW)


def result(end: AttemptEnd, answer: Answer, *, body: bytes = b"{}", deltas: int = 0) -> AttemptRecord:
    return result_record(
        intent(), end, answer, origin=None, body=body, deltas=deltas, latency_ms=120, first_token_ms=40
    )


def test_an_intent_has_everything_that_is_known_of_the_attempt_and_stands_as_indeterminate() -> None:
    record = intent()
    shared = AttemptRecord.model_fields.keys() & type(DETAILED).model_fields.keys()
    assert {name: getattr(record, name) for name in shared} == {name: getattr(DETAILED, name) for name in shared}
    assert (record.outcome, record.usage_source) == (Outcome.INDETERMINATE, UsageSource.NONE)
    assert record.failure is not None
    assert (record.failure.failure_class, record.failure.where) == (FailureClass.INDETERMINATE, Where.NO_ANSWER)
    assert (record.worker_id, record.spool_seq, record.started_at, record.latency_ms) == (
        "provider-worker-1",
        7,
        NOW,
        0,
    )


PROMPT = b'{"messages": [{"role": "user", "content": "12345678"}]}'
WHOLE = b'{"choices": [{"message": {"content": "1234"}}]}'
COMPLETED, FAILED = AttemptEnd(Outcome.COMPLETED), AttemptEnd(Outcome.FAILED, FAILURE)


@pytest.mark.parametrize(
    ("end", "answer", "deltas", "counts", "source"),
    [
        (COMPLETED, Answer(), 3, (2, 3), UsageSource.ESTIMATED),
        (COMPLETED, Answer(), 1, (2, 1), UsageSource.ESTIMATED),
        (COMPLETED, Answer(body=WHOLE), 0, (2, 1), UsageSource.ESTIMATED),
        (COMPLETED, Answer(), 0, (2, 0), UsageSource.ESTIMATED),
        (FAILED, Answer(), 0, (0, 0), UsageSource.NONE),
        (FAILED, Answer(), 1, (2, 1), UsageSource.ESTIMATED),
        *(
            (
                AttemptEnd(Outcome.FAILED, FAILURE.model_copy(update={"where": where})),
                Answer(),
                0,
                (2, 0),
                UsageSource.ESTIMATED,
            )
            for where in (Where.NO_ANSWER, Where.MID_STREAM)
        ),
    ],
)
def test_what_may_be_charged_and_was_not_reported_is_estimated(
    end: AttemptEnd, answer: Answer, deltas: int, counts: tuple[int, int], source: UsageSource
) -> None:
    record = result(end, answer, body=PROMPT, deltas=deltas)
    assert (record.token_usage.input, record.token_usage.output, record.usage_source) == (*counts, source)
    assert (record.outcome, record.failure, record.latency_ms, record.first_token_ms) == (
        end.outcome,
        end.failure,
        120,
        40,
    )


@pytest.mark.parametrize(
    ("answer", "deltas", "source"),
    [
        (Answer(usage=ZERO), 0, UsageSource.REPORTED),
        (Answer(usage=ZERO), 1, UsageSource.ESTIMATED),
        (Answer(usage=ZERO, body=WHOLE), 0, UsageSource.ESTIMATED),
    ],
)
def test_zero_tokens_are_believed_only_where_there_was_no_answer(
    answer: Answer, deltas: int, source: UsageSource
) -> None:
    assert result(COMPLETED, answer, body=PROMPT, deltas=deltas).usage_source is source


@pytest.mark.parametrize(
    ("usage", "source"),
    [
        (NO_REPORT, UsageSource.NONE),
        (UsageReport(TokenUsage(input=5, output=1), True, True), UsageSource.REPORTED),
        (UsageReport(TokenUsage(input=5), True, False), UsageSource.ESTIMATED),
    ],
)
def test_a_result_that_cannot_be_written_keeps_how_it_ended_and_what_was_used(
    usage: UsageReport, source: UsageSource
) -> None:
    record = reduced_result(intent(), FAILED, Answer(usage=usage), latency_ms=120, now=NOW)
    assert (record.outcome, record.failure, record.latency_ms) == (Outcome.FAILED, FAILURE, 120)
    assert (record.token_usage, record.usage_source) == (usage.token_usage, source)
    assert record.attempt_id == DETAILED.attempt_id
    assert {"finish_reason", "model_served", "origin"} <= set(record.unkept)
    ended = reduced_result(intent(), COMPLETED, Answer(usage=usage), latency_ms=1, now=NOW)
    assert (ended.outcome, ended.failure) == (Outcome.COMPLETED, None)


def test_an_answer_that_broke_off_before_its_first_output_may_be_charged() -> None:
    broken = FAILURE.model_copy(update={"failure_class": FailureClass.TRUNCATED, "where": Where.HTTP_200_BODY})
    record = result(AttemptEnd(Outcome.FAILED, broken), Answer(failure=broken), body=PROMPT)
    assert (record.usage_source, record.token_usage) == (UsageSource.ESTIMATED, TokenUsage(input=2))
