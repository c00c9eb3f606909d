"""Records that cannot be right are recorded, marked and visible: never dropped, and never a batch that fails for ever."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.contracts.reduced_record import USAGE_NOTE
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.topology import ATTEMPT_FINISHED, REQUEST_DECIDED
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome, UsageSource
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.prices import load_prices
from services.usage_ledger.pricing import UNPRICED, price
from services.usage_ledger.record_batches import DecodedBatches, decode_attempts, decode_decisions
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MOST = 10**9
PRICES = PriceBook(load_prices(BUNDLED_PRICES))


def decoded(*lines: bytes) -> DecodedBatches[AttemptRecord]:
    return decode_attempts([(ATTEMPT_FINISHED.format(worker=WORKER), batch_message(lines))], NOW)


def only(**changes: object) -> AttemptRecord:
    """Return what becomes of a record with these values; the number for a token count is spelled as given."""
    document: dict[str, Any] = json.loads(attempt_record(started_at=NOW).encode()) | changes
    (item,) = decoded(json.dumps(document).encode()).valid
    return item.record


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (-1, 0),
        (-(2**63), 0),
        (2**63, MOST),
        (2**70, MOST),
        (10**400, 0),
        (BIGINT_MAX, MOST),
        (MOST + 1, MOST),
        (1.5, 1),
        (1e300, MOST),
        ("12", 12),
        ("x", 0),
        (True, 1),
        (None, 0),
        ([], 0),
        ({}, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["input", "output", "reasoning"])
def test_a_count_that_cannot_be_right_is_an_estimate_and_marked(count: object, kept: int, kind: str) -> None:
    others = {name: 7 for name in ("input", "output", "reasoning") if name != kind}
    document: dict[str, Any] = json.loads(attempt_record(started_at=NOW).encode())
    lines = json.dumps(document | {"token_usage": others | {kind: count}}).encode()
    batches = decoded(lines)
    if not batches.valid:  # no JSON reader takes a number of 400 digits for one; the original is in the dead letters
        assert (count, len(batches.rejected)) == (10**400, 1)
        return
    record = batches.valid[0].record
    if record.usage_source is UsageSource.REPORTED:  # a number, in a spelling that is taken for one
        assert (getattr(record.token_usage, kind), record.unkept) == (kept, [])
        assert isinstance(count, str | bool)
        return
    assert getattr(record.token_usage, kind) == kept
    assert record.unkept == ["token_usage"]
    assert (record.usage_source, record.usage_note) == (UsageSource.ESTIMATED, USAGE_NOTE)
    assert {name: getattr(record.token_usage, name) for name in others} == others
    assert price(record, PRICES) == UNPRICED


def test_the_sum_of_counts_cannot_be_absurd_either() -> None:
    document = json.loads(attempt_record(started_at=NOW).encode()) | {"token_usage": {"input": MOST, "output": 1}}
    batches = decoded(json.dumps(document).encode())
    assert [letter.reason for letter in batches.rejected] == ["AttemptRecord: token_usage: it cannot be right"]
    record = batches.valid[0].record
    assert (record.usage_source, record.unkept) == (UsageSource.ESTIMATED, ["token_usage"])
    assert only(token_usage={"input": MOST - 1, "output": 1}).unkept == []


@pytest.mark.parametrize(
    "started_at",
    [
        "1970-01-01T00:00:00Z",
        (NOW - timedelta(days=401)).isoformat(),
        (NOW + timedelta(days=2)).isoformat(),
        "2199-12-31T00:00:00Z",
        "9998-12-31T00:00:00Z",
        "not a time",
        -1,
        1e400,
        None,
    ],
    ids=str,
)
def test_the_ledgers_clock_stands_in_for_one_that_is_far_off(started_at: object) -> None:
    """A start in another century would be in no budget's window and in no month of a key's limit."""
    batches = decoded(json.dumps(json.loads(attempt_record().encode()) | {"started_at": started_at}).encode())
    if not batches.valid:
        assert (started_at, len(batches.rejected)) == (1e400, 1)  # `Infinity` is no JSON
        return
    record = batches.valid[0].record
    assert (record.started_at, record.unkept) == (NOW, ["started_at"])


@pytest.mark.parametrize("away", [timedelta(days=-399), timedelta(hours=-1), timedelta(0), timedelta(hours=23)])
def test_a_start_that_may_be_right_stays(away: timedelta) -> None:
    record = only(started_at=(NOW + away).isoformat())
    assert (record.started_at, record.unkept) == (NOW + away, [])


def test_an_unknown_tenant_is_recorded() -> None:
    record = only(tenant="nobody-knows-it")
    assert (record.tenant, record.unkept) == ("nobody-knows-it", [])


EARLIER = {
    "the first build": (
        b'{"attempt_id":"att_05u3m2n8q1k0d4s6g8j0l2n4p6","request_id":"req_1","decision_id":"dec_1","attempt_number":1,'
        b'"tenant":"acme","provider":"openai","model_asked":"gpt-4o-mini","model":"gpt-4o-mini","key_source":"platform",'
        b'"stream":true,"outcome":"completed","finish_reason":"stop","token_usage":{"input":10,"cached_read":0,"output":5},'
        b'"usage_source":"reported","started_at":"2026-03-01T12:00:00Z","latency_ms":120,"worker_id":"provider-worker-1",'
        b'"spool_seq":1}'
    ),
    "before levels and teams": (
        b'{"attempt_id":"att_05u3m2n8q1k0d4s6g8j0l2n4p7","request_id":"req_1","kind":"chat","decision_id":"dec_1",'
        b'"attempt_number":2,"tenant":"acme","client_token_id":"tok_1","provider":"anthropic","origin":"https://api.anthropic.com",'
        b'"model_asked":"auto","model":"claude-sonnet-4-5","key_source":"byok","key_id":"key_1","stream":false,'
        b'"outcome":"failed","failure":{"failure_class":"timeout","message":"it took too long","where":"no_answer"},'
        b'"token_usage":{"input":0,"cached_read":0,"cache_write":0,"cache_write_1h":0,"output":0,"reasoning":0,"audio":0,'
        b'"image":0,"audio_output":0,"image_output":0},"usage_source":"none","started_at":"2026-05-01T12:00:00Z",'
        b'"latency_ms":120,"tags":{"team":"blue"},"worker_id":"provider-worker-1","spool_seq":2,"unkept":[]}'
    ),
}
"""Records as workers of earlier builds have them in their spools."""


@pytest.mark.parametrize("line", EARLIER.values(), ids=EARLIER)
def test_a_record_of_an_earlier_build_is_recorded_whole(line: bytes) -> None:
    batches = decoded(line)
    assert batches.rejected == []
    record = batches.valid[0].record
    assert record.unkept == []
    given, found = json.loads(line), json.loads(record.encode())
    for name, value in given.items():
        nested = isinstance(value, dict)
        assert found[name].items() >= value.items() if nested else found[name] == value
    assert (record.tier, record.charged_level, record.reservation) == (None, None, None)


def test_a_record_of_a_later_build_is_recorded_without_what_is_not_known_yet() -> None:
    record = only(invented_later={"a": 1}, outcome="paused", key_source="borrowed")
    assert record.unkept == ["key_source", "outcome"]
    assert (record.outcome, record.key_source) == (Outcome.INDETERMINATE, KeySource.NONE)


def test_a_decision_of_the_first_build_is_recorded() -> None:
    line = (
        b'{"decision_id":"dec_1","request_id":"req_1","tenant":"acme","router":"router","model_asked":"echo","stream":true,'
        b'"decided_at":"2026-03-01T12:00:00Z","duration_us":80,"candidates":[{"provider":"echo","model":"echo",'
        b'"key_source":"none","kept":true,"detail":"the built-in echo"}],"order":[0]}'
    )
    message = (REQUEST_DECIDED.format(service="router"), batch_message([line], producer="router", spool_id=None))
    batches = decode_decisions([message])
    assert (len(batches.valid), batches.rejected) == (1, [])
    assert batches.valid[0].record.attempt_number == 1
