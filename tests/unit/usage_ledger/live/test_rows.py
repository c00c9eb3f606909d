"""Rows that are made of what was just recorded are those that the request log makes of its tables."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.live_events import CommittedRequest, RequestsRecorded
from keyferry.contracts.usage import AttemptRecord, KeySource, LedgerRow, Outcome, TokenUsage
from services.usage_ledger.live.rows import Json, committed_request, encode_requests, refused_request
from services.usage_ledger.request_log.entries import request_of_attempts, request_of_refusal, row_of
from services.usage_ledger.request_log.projection import _refusal_values
from tests.support.ledger.attempt_records import attempt_record, decision_record

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
FAILURE = Failure(failure_class=FailureClass.OVERLOADED, where=Where.GATEWAY, message="x" * 2000)


def decode(row: Json) -> CommittedRequest:
    data = encode_requests("acme", [row], 3, NOW)
    message = RequestsRecorded.decode(data)
    assert (message.tenant, message.skipped, message.at) == ("acme", 3, NOW)
    assert len(message.requests) == 1
    return message.requests[0]


def ledger_row(record: AttemptRecord, chance: random.Random) -> LedgerRow:
    priced = chance.random() < 0.7
    return LedgerRow(
        record=record,
        cost_usd=Decimal(chance.randint(0, 10**6)) / 10**6 if priced else None,
        price_version="v1" if priced else None,
        pricing="priced" if priced else "unpriced",
        charge_micro_usd=chance.choice([None, chance.randint(0, 10**6)]),
        spend_micro_usd=chance.choice([None, 17]),
        trace_id=chance.choice([None, "0af7651916cd43dd8448eb211c80319c"]),
        recorded_at=NOW,
    )


def some_attempts(chance: random.Random) -> list[LedgerRow]:
    count = chance.randint(1, 4)
    began = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = []
    for number in range(1, count + 1):
        outcome = Outcome.FAILED if number < count else chance.choice(list(Outcome))
        record = attempt_record(
            request_id="req_1",
            attempt_number=number,
            outcome=outcome,
            failure=FAILURE if outcome is Outcome.FAILED else None,
            key_source=chance.choice(list(KeySource)),
            model_served=chance.choice([None, "echo-2026"]),
            token_usage=TokenUsage(input=chance.randint(0, 9), output=chance.randint(0, 9), reasoning=1),
            first_token_ms=chance.choice([None, 30]),
            started_at=began + timedelta(milliseconds=chance.randint(-5, 900)),
            power_level=chance.choice([None, "eco"]),
            team=chance.choice([None, "red"]),
        )
        rows.append(ledger_row(record, chance))
    return rows


def test_a_row_is_that_of_the_log() -> None:
    chance = random.Random(7)
    for _ in range(200):
        rows = some_attempts(chance)
        found = decode(committed_request(rows))
        assert found.complete
        assert found.request.encode() == request_of_attempts([row_of(row) for row in rows]).encode()


def test_a_row_without_the_first_attempts_says_so() -> None:
    rows = [ledger_row(attempt_record(request_id="req_1", attempt_number=2), random.Random(1))]
    assert not decode(committed_request(rows)).complete


def test_a_refused_request_is_that_of_the_log() -> None:
    record = decision_record(refusal=FAILURE, operation="chat", team="red")
    found = refused_request(record, None)
    assert found is not None
    assert decode(found).request.encode() == request_of_refusal(_refusal_values(record, NOW)).encode()


def test_a_decision_that_refused_nothing_or_a_later_attempt_is_no_row() -> None:
    assert refused_request(decision_record(), None) is None
    assert refused_request(decision_record(refusal=FAILURE, attempt_number=2), None) is None
