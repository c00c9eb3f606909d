"""Batches are decoded record by record, so that an invalid one is rejected alone."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from keyferry.contracts.topology import ATTEMPT_FINISHED, RECORD_REJECTED, REQUEST_DECIDED
from services.usage_ledger.dead_letter import MAX_KEPT_BYTES, DeadLetter, RejectedRecord, message_id, to_dead_letter
from services.usage_ledger.record_batches import decode_attempts, decode_decisions
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message, decision_record

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SUBJECT = ATTEMPT_FINISHED.format(worker=WORKER)


def changed(**changes: object) -> bytes:
    """An attempt whose JSON was tampered with."""
    return json.dumps(json.loads(attempt_record().encode()) | changes).encode()


def test_every_record_carries_its_producer_and_spool() -> None:
    records = [attempt_record() for _ in range(3)]
    messages = [
        (SUBJECT, batch_message([records[0].encode(), records[1].encode()], spool_id="spl_1")),
        (SUBJECT, batch_message([records[2].encode()], spool_id=None)),
    ]
    batches = decode_attempts(messages, NOW)
    assert [(item.record, item.producer, item.spool_id) for item in batches.valid] == [
        (records[0], WORKER, "spl_1"),
        (records[1], WORKER, "spl_1"),
        (records[2], WORKER, None),
    ]
    assert [item.line for item in batches.valid] == [record.encode() for record in records]
    assert batches.rejected == []


@pytest.mark.parametrize(
    ("line", "reason", "seq", "unkept"),
    [
        (b"", "AttemptRecord: message: Invalid JSON", None, None),
        (b"[1]", "AttemptRecord: message: it should be an object", None, None),
        (b'{"spool_seq": 7', "AttemptRecord: message: Invalid JSON", None, None),
        (b"\xff\xfe", "AttemptRecord: message: Invalid JSON", None, None),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "AttemptRecord: message: Invalid JSON", None, None),
        (changed(outcome="exploded", spool_seq=7), "AttemptRecord: outcome: it should be", 7, ["outcome"]),
        (changed(tenant="NOT ONE", spool_seq=8), "AttemptRecord: tenant: it should be 1 to 63 characters", 8, None),
        (
            changed(token_usage={"input": -1}, spool_seq=9),
            "AttemptRecord: token_usage.input: it should be at least 0",
            9,
            ["token_usage"],
        ),
        (
            changed(reported_cost_usd=0.1, spool_seq=10),
            "AttemptRecord: reported_cost_usd: money must be a decimal string",
            10,
            ["reported_cost_usd"],
        ),
        (changed(spool_seq=2**63), "AttemptRecord: spool_seq: ", None, None),
        (changed(spool_seq=0), "AttemptRecord: spool_seq: it should be at least", None, None),
        (
            changed(spool_seq=True, stream=None),
            "AttemptRecord: stream: it should be true or false",
            None,
            ["stream"],
        ),
        (changed(worker_id="provider-worker-2", spool_seq=11), "may not account for another worker", 11, None),
        (
            changed(worker_id="provider-worker-2", outcome="exploded", spool_seq=12),
            "AttemptRecord: outcome: ",
            12,
            None,
        ),
    ],
)
def test_an_invalid_record_is_rejected_alone_and_kept_in_part(
    line: bytes, reason: str, seq: int | None, unkept: list[str] | None
) -> None:
    good = [attempt_record() for _ in range(2)]
    batches = decode_attempts([(SUBJECT, batch_message([good[0].encode(), line, good[1].encode()]))], NOW)
    kept = [item.record for item in batches.valid if item.line == line]
    assert [item.record for item in batches.valid if item.line != line] == good
    assert [record.unkept for record in kept] == ([] if unkept is None else [unkept])
    (rejected,) = batches.rejected
    assert reason in rejected.reason
    assert (rejected.original, rejected.producer, rejected.stream) == (line, WORKER, "ATTEMPTS")
    assert (rejected.spool_id, rejected.spool_seq) == ("spl_1", seq)


def test_a_reason_repeats_no_value() -> None:
    batches = decode_attempts(
        [(SUBJECT, batch_message([changed(outcome="sk-secret", tenant="SK-SECRET", tags={"a": 1})]))], NOW
    )
    assert "secret" not in batches.rejected[0].reason.lower()


@pytest.mark.parametrize("data", [b"", b"no newline", b'{"count": 0, "producer": "p"}\n{}', b"{}\n{}", b"\x00\n\x00"])
def test_an_unreadable_batch_is_rejected_whole(data: bytes) -> None:
    good = attempt_record()
    batches = decode_attempts([(SUBJECT, data), (SUBJECT, batch_message([good.encode()]))], NOW)
    assert [item.record for item in batches.valid] == [good]
    (rejected,) = batches.rejected
    assert (rejected.original, rejected.spool_id, rejected.spool_seq) == (data, None, None)
    assert rejected.reason.startswith("BatchHead: ")


def test_a_time_without_a_zone_is_utc() -> None:
    naive = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - what is tested
    east = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    lines = [attempt_record(started_at=moment).encode() for moment in (naive, east)]
    expected = naive.replace(tzinfo=UTC)
    assert [item.record.started_at for item in decode_attempts([(SUBJECT, batch_message(lines))], NOW).valid] == [
        expected
    ] * 2
    subject = REQUEST_DECIDED.format(service="router")
    lines = [decision_record(decided_at=moment).encode() for moment in (naive, east)]
    found = decode_decisions([(subject, batch_message(lines, producer="router", spool_id=None))]).valid
    assert [item.record.decided_at for item in found] == [expected] * 2


def test_an_invalid_decision_is_rejected_alone() -> None:
    good = decision_record()
    batches = decode_decisions(
        [(REQUEST_DECIDED.format(service="router"), batch_message([b"{}", good.encode()], producer="router"))]
    )
    assert [item.record for item in batches.valid] == [good]
    assert batches.rejected[0].reason.startswith("DecisionRecord: decision_id: this is required")
    assert batches.rejected[0].stream == "DECISIONS"


def test_nobody_decides_in_the_name_of_another_process() -> None:
    """Workers publish refusals to the same stream as routers publish decisions."""
    refusal = decision_record(router=WORKER, attempt_refused=True)
    message = batch_message([refusal.encode(), decision_record().encode()], spool_id=None)
    batches = decode_decisions([(REQUEST_DECIDED.format(service=WORKER), message)])
    assert [item.record for item in batches.valid] == [refusal]
    assert [item.reason for item in batches.rejected] == [
        f"DecisionRecord: router: {WORKER} may not decide for another process"
    ]


def test_a_dead_letter_holds_the_original_up_to_a_limit() -> None:
    small = RejectedRecord(original=b"\x00\xff", reason="why", producer=WORKER, stream="ATTEMPTS")
    letter = DeadLetter.decode(to_dead_letter(small).encode())
    assert (letter.message, letter.original, letter.original_size_bytes) == ("why", b"\x00\xff", 2)
    large = RejectedRecord(original=b"x" * (MAX_KEPT_BYTES + 1), reason="why", producer=WORKER, stream="ATTEMPTS")
    letter = to_dead_letter(large)
    assert (len(letter.original), letter.original_size_bytes) == (MAX_KEPT_BYTES, MAX_KEPT_BYTES + 1)
    assert RECORD_REJECTED.message.model_validate_json(letter.encode()).model_dump(mode="json") == {
        "code": "invalid",
        "message": "why",
    }


def test_the_same_original_has_the_same_message_id() -> None:
    first = RejectedRecord(original=b"x", reason="one", producer=WORKER, stream="ATTEMPTS")
    again = RejectedRecord(original=b"x", reason="two", producer=WORKER, stream="ATTEMPTS", spool_seq=1)
    other = RejectedRecord(original=b"y", reason="one", producer=WORKER, stream="ATTEMPTS")
    elsewhere = RejectedRecord(original=b"x", reason="one", producer=WORKER, stream="DECISIONS")
    assert message_id(first) == message_id(again)
    assert len({message_id(each) for each in (first, other, elsewhere)}) == 3
