"""Watermarks in the heads of batches: the newest of each spool, in any order, and nothing of what cannot be read."""

import itertools
from datetime import UTC, datetime, timedelta

from keyferry.contracts.credit import RETIRED_UNIX_MS, SKEW_MS
from keyferry.contracts.usage import BatchHead
from services.usage_ledger.credit.reports import (
    STILL_REPORTS,
    ReportedWatermark,
    SpoolReport,
    StreamMessage,
    describe_replaced,
    find_replaced,
    newest_watermarks,
    reports,
)

NOW = 1_800_000_000_000
SUBJECT = "kf.v1.attempt.finished.provider-worker-1"


def message(position: int, settled: int | None, *, spool: str | None = "spl_1", body: bytes = b"") -> StreamMessage:
    head = BatchHead(producer="somebody-else", spool_id=spool, count=0, settled_until_unix_ms=settled)
    return StreamMessage(SUBJECT, head.with_body(body), position)


def test_the_newest_of_each_spool_counts_whatever_the_order() -> None:
    records = b"{}\n{}\n"
    messages = [
        message(7, NOW, body=records),
        message(8, NOW - 5, body=records),
        message(9, NOW - 9, spool="spl_2"),
        message(3, NOW + 1),
    ]
    for ordered in itertools.permutations(messages):
        found = newest_watermarks(ordered, NOW)
        assert sorted(found, key=lambda one: one.position) == [
            ReportedWatermark("provider-worker-1", "spl_1", 8, NOW - 5),
            ReportedWatermark("provider-worker-1", "spl_2", 9, NOW - 9),
        ]


def test_a_watermark_ahead_of_the_ledgers_clock_is_cut() -> None:
    [found] = newest_watermarks([message(7, NOW + 10**9)], NOW)
    assert found.settled_until_ms == NOW + SKEW_MS
    [found] = newest_watermarks([message(7, RETIRED_UNIX_MS, spool=None)], NOW)
    assert (found.settled_until_ms, found.spool_id) == (RETIRED_UNIX_MS, "")


def test_heads_without_a_watermark_and_unreadable_ones_report_nothing() -> None:
    nothing = message(7, None)
    broken = StreamMessage(SUBJECT, b'{"settled_until_unix_ms": -5}\n', 8)
    assert newest_watermarks([nothing, broken], NOW) == []
    for before in (nothing, broken):
        [found] = newest_watermarks([before, message(9, NOW)], NOW)
        assert found.position == 9, "the messages after it are read"
    assert not reports(nothing.data)


def test_only_the_head_says_whether_there_is_a_watermark() -> None:
    assert reports(message(7, NOW).data)
    assert not reports(message(7, None, body=b'{"settled_until_unix_ms": 1}').data)
    assert not reports(message(7, None, body=b'{"settled_until_unix_ms": 1}\n{}\n').data)
    assert reports(b'{"settled_until_unix_ms": 1}')


AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def spool(worker: str, spool_id: str, silent_for: timedelta, settled: int = NOW) -> SpoolReport:
    return SpoolReport(worker, spool_id, settled, AT - silent_for)


def test_a_silent_spool_whose_worker_reports_from_another_one_was_replaced() -> None:
    later, second = STILL_REPORTS + timedelta(seconds=1), timedelta(seconds=1)
    found = find_replaced(
        [
            spool("w1", "spl_new", second),
            spool("w1", "spl_old", later),
            spool("w1", "spl_older", 9 * later),
            spool("w2", "spl_alone", later),
            spool("w3", "spl_retired", later, RETIRED_UNIX_MS),
            spool("w3", "spl_3", second),
            spool("w4", "spl_4", STILL_REPORTS),
            spool("w4", "spl_5", second),
        ],
        AT,
    )
    assert found == {("w1", "spl_old"): "spl_new", ("w1", "spl_older"): "spl_new"}
    assert "`keyferry credits declare-lost w1 --spool spl_old`" in describe_replaced("w1", "spl_old", "spl_new")
    assert "`keyferry credits declare-lost w1`" in describe_replaced("w1", "", "spl_new")
