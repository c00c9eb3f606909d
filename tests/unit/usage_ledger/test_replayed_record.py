"""A dead letter as its producer would publish it again, and the copies that may stand in its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.topology import ATTEMPT_FINISHED, AUDIT_RECORDED, HEALTH_CHANGED, REQUEST_DECIDED
from services.usage_ledger.dead_letter import MAX_KEPT_BYTES, DeadLetter, RejectedRecord, to_dead_letter
from services.usage_ledger.record_batches import decode_attempts
from services.usage_ledger.replayed_record import NotReplayable, hint, record_id, replayed_record
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message

RECORD = attempt_record()


def letter(
    original: bytes, stream: str = "ATTEMPTS", producer: str = WORKER, reason: str = "it is no record"
) -> DeadLetter:
    return to_dead_letter(RejectedRecord(original, reason, producer, stream))


@pytest.mark.parametrize(
    ("stream", "producer", "subject"),
    [
        ("ATTEMPTS", WORKER, ATTEMPT_FINISHED.format(worker=WORKER)),
        ("DECISIONS", "router", REQUEST_DECIDED.format(service="router")),
        ("AUDIT", "key-vault", AUDIT_RECORDED.format(service="key-vault")),
        ("CHANGES", "openai", HEALTH_CHANGED.format(provider="openai")),
    ],
)
def test_a_record_comes_from_the_producer_that_the_bus_vouched_for(stream: str, producer: str, subject: str) -> None:
    assert replayed_record(letter(b"{}", stream, producer), None).subject == subject


@pytest.mark.parametrize("indent", [None, 2])
def test_a_record_may_be_indented_by_hand(indent: int | None) -> None:
    edited = json.dumps(json.loads(RECORD.encode()), indent=indent).encode() + b"\n"
    again = replayed_record(letter(RECORD.encode()), edited)
    batches = decode_attempts([(again.subject, again.data)], RECORD.started_at)
    assert [item.record for item in batches.valid] == [RECORD]
    assert batches.rejected == []


def test_a_whole_batch_is_taken_as_it_is() -> None:
    data = batch_message([RECORD.encode(), attempt_record().encode()])
    again = replayed_record(letter(data), None)
    assert again.data == data
    assert len(decode_attempts([(again.subject, again.data)], RECORD.started_at).valid) == 2


def test_a_copy_keeps_the_id_by_which_a_record_is_recorded_once() -> None:
    other = attempt_record().encode()
    with pytest.raises(NotReplayable, match="another attempt_id"):
        replayed_record(letter(RECORD.encode()), other)
    assert replayed_record(letter(b"}{"), other).data.endswith(other), "an original without an id takes any"


def test_what_was_cut_is_replayed_only_from_a_copy() -> None:
    cut = letter(b"x" * (MAX_KEPT_BYTES + 1))
    with pytest.raises(NotReplayable, match="of its 262145 bytes"):
        replayed_record(cut, None)
    assert "Only its beginning was kept" in hint(cut)
    assert replayed_record(cut, RECORD.encode()).data.endswith(RECORD.encode())


def test_what_came_through_no_stream_of_the_ledger_is_not_replayed() -> None:
    with pytest.raises(NotReplayable, match="can only be discarded"):
        replayed_record(letter(b"{}", stream="SPEND"), None)


@pytest.mark.parametrize(
    ("reason", "stream", "expected"),
    [
        ("AttemptRecord: outcome: it should be", "ATTEMPTS", "that row stands"),
        ("AttemptRecord: worker_id: w may not account for another worker", "ATTEMPTS", "which process holds these"),
        ("PostgreSQL rejects it: NumericValueOutOfRange", "ATTEMPTS", "beyond what the table takes"),
        ("BatchHead: the head line has no end", "ATTEMPTS", "upgrade the ledger"),
        ("AuditEvent: outcome: it should be", "AUDIT", "upgrade the ledger"),
    ],
)
def test_the_hint_depends_on_the_reason(reason: str, stream: str, expected: str) -> None:
    assert expected in hint(letter(b"{}", stream, reason=reason))


@given(st.binary(max_size=200), st.sampled_from(["ATTEMPTS", "DECISIONS", "AUDIT", "CHANGES"]))
def test_no_bytes_of_an_original_break_a_replay(original: bytes, stream: str) -> None:
    found = letter(original, stream)
    assert replayed_record(found, None).subject.endswith(WORKER)
    assert hint(found)
    assert record_id(stream, original) is None


@pytest.mark.parametrize("value", [None, 5, "", "a b", "\x00", "\udcff", "x" * 201, [], {"a": 1}])
def test_an_id_that_is_none_is_not_shown(value: object) -> None:
    assert record_id("ATTEMPTS", json.dumps({"attempt_id": value}).encode()) is None


def test_deep_json_is_no_record() -> None:
    assert record_id("ATTEMPTS", b"[" * 100_000) is None
    assert record_id("ATTEMPTS", b'{"a":' * 5000 + b"1" + b"}" * 5000) is None
