"""An attempt stays in the accounts whatever its record holds."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.reduced_record import USAGE_NOTE, reduce_record, reduce_to_essentials
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome, TokenUsage, UsageSource
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 3, 2, tzinfo=UTC)
ESSENTIAL = ("attempt_id", "tenant", "worker_id", "spool_seq")
BAD = ("a\x00b", "\ud800", "", "x" * 1_000_000, 2**70, -1, True, None, [1], {"a": "\x00"}, float("nan"))


def values(**changes: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(attempt_record().encode())
    return document | changes


def test_a_valid_record_is_kept_whole() -> None:
    record = attempt_record()
    assert reduce_record(json.loads(record.encode()), NOW) == record
    assert reduce_record(record.model_dump(), NOW) == record


@pytest.mark.parametrize("name", sorted(AttemptRecord.model_fields.keys() - {*ESSENTIAL, "unkept"}))
@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value)[:12])
def test_a_field_at_fault_costs_no_more_than_itself(name: str, value: object) -> None:
    original = values()
    record = reduce_record(original | {name: value}, NOW)
    assert record is not None
    assert AttemptRecord.decode(record.encode()) == record
    assert record.unkept in ([], [name])
    # Counts at fault are also no report of the provider any more.
    changed = {name, "unkept"} | ({"usage_source", "usage_note"} if name == "token_usage" else set())
    others = {other: field for other, field in record.model_dump(mode="json").items() if other not in changed}
    assert others == {other: field for other, field in attempt_json(original).items() if other in others}


def attempt_json(document: dict[str, Any]) -> dict[str, Any]:
    return AttemptRecord.model_validate(document).model_dump(mode="json")


@pytest.mark.parametrize("name", ESSENTIAL)
def test_without_its_owner_it_is_nobody_s(name: str) -> None:
    assert reduce_record(values(**{name: "\x00"}), NOW) is None
    without = values()
    del without[name]
    assert reduce_record(without, NOW) is None


def test_what_can_be_kept_of_a_value_is_kept() -> None:
    record = reduce_record(
        values(
            model="up/raw\x00x",
            token_usage={"input": 10**30, "output": 7, "reasoning": -3},
            failure={"failure_class": "quota", "where": "http_status", "message": 3},
            started_at="never",
        ),
        NOW,
    )
    assert record is not None
    assert record.model == "up/raw\ufffdx"
    assert record.token_usage == TokenUsage(input=10**9, output=7)
    assert (record.usage_source, record.usage_note) == (UsageSource.ESTIMATED, USAGE_NOTE)
    assert record.failure is not None
    assert (record.failure.failure_class, record.failure.where) == (FailureClass.QUOTA, Where.HTTP_STATUS)
    assert record.started_at == NOW
    assert record.unkept == ["failure", "model", "started_at", "token_usage"]


def test_an_end_that_cannot_be_read_is_indeterminate_and_no_success() -> None:
    record = reduce_record(values(outcome="exploded", key_source="stolen"), NOW)
    assert record is not None
    assert (record.outcome, record.key_source) == (Outcome.INDETERMINATE, KeySource.NONE)


@pytest.mark.parametrize(
    ("started_at", "kept"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), True),
        (datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2200, 1, 1, tzinfo=UTC), False),
    ],
)
def test_a_start_is_kept_if_the_ledger_can_hold_it(started_at: datetime, kept: bool) -> None:
    record = attempt_record(started_at=started_at, finish_reason=None, tags={})
    reduced = reduce_to_essentials(record, NOW)
    assert (reduced.started_at, reduced.unkept) == ((started_at, []) if kept else (NOW, ["started_at"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(AttemptRecord.model_fields.keys() - {*ESSENTIAL})), JSON, max_size=6))
def test_any_record_of_somebody_is_kept(changes: dict[str, object]) -> None:
    record = reduce_record(values(**changes), NOW)
    assert record is not None
    assert AttemptRecord.decode(record.encode()) == record


def test_the_essentials_of_a_record_fit_any_store() -> None:
    record = attempt_record(
        model="modèle",
        model_served="modèle-1",
        latency_ms=BIGINT_MAX,
        token_usage=TokenUsage(input=BIGINT_MAX, output=3),
        failure=Failure(failure_class=FailureClass.QUOTA, message="no balance", where=Where.HTTP_STATUS),
        started_at=datetime(2345, 12, 31, tzinfo=UTC),
        outcome=Outcome.FAILED,
        reported_cost_usd="123456789012345",
        operation="chat",
        finish_reason=None,
        unkept=["origin"],
    )
    reduced = reduce_to_essentials(record, NOW)
    assert reduced.unkept == [
        *("failure", "latency_ms", "model", "model_served", "operation", "origin", "reported_cost_usd", "started_at"),
        *("tags", "token_usage"),
    ]
    assert reduced.encode().isascii()
    assert (reduced.attempt_id, reduced.outcome) == (record.attempt_id, Outcome.FAILED)
    assert reduced.token_usage == TokenUsage(input=10**9, output=3)
    assert (reduced.usage_source, reduced.usage_note) == (UsageSource.ESTIMATED, USAGE_NOTE)
    assert reduced.started_at == NOW
    assert reduced.failure is not None
    assert (reduced.failure.failure_class, reduced.failure.where) == (FailureClass.QUOTA, Where.HTTP_STATUS)
    assert AttemptRecord.decode(reduced.encode()) == reduced


def test_the_essentials_of_an_ordinary_record_are_what_it_says() -> None:
    record = attempt_record(finish_reason=None, tags={})
    assert reduce_to_essentials(record, NOW) == record
