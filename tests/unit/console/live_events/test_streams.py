"""Ids of events, queues of streams, and counts of requests."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.live_events import RequestsRecorded
from services.console.live_events.bodies import ClosingReason, ResetReason
from services.console.live_events.changes import LiveChange
from services.console.live_events.event_id import Start, find_start, format_id
from services.console.live_events.feed import MAX_CHANGES, Feed
from services.console.live_events.request_counts import RequestCounts
from services.console.live_events.topics import Audience, Topic

NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)


def recorded(seq: int, tenant: str = "acme", skipped: int = 1) -> LiveChange:
    return LiveChange(seq, Topic.REQUESTS, RequestsRecorded(tenant=tenant, skipped=skipped, at=NOW))


def feed() -> Feed:
    return Feed(Audience("acme", AccessRole.OWNER, "ann", frozenset({Topic.REQUESTS})), "ses_1")


@pytest.mark.parametrize(
    ("given", "start"),
    [
        (None, Start(20)),
        ("", Start(20)),
        ("ab-20", Start(20, resumed=True)),
        ("ab-12", Start(12, resumed=True)),
        ("ab-9", Start(9, resumed=True)),
        ("ab-8", Start(20, lost=ResetReason.TOO_OLD)),
        ("ab-21", Start(20, lost=ResetReason.UNKNOWN_ID)),
        ("cd-12", Start(20, lost=ResetReason.UNKNOWN_ID)),
        ("12", Start(20, lost=ResetReason.UNKNOWN_ID)),
        ("ab--1", Start(20, lost=ResetReason.UNKNOWN_ID)),
        ("ab-1\N{ARABIC-INDIC DIGIT THREE}", Start(20, lost=ResetReason.UNKNOWN_ID)),
        (f"ab-{'9' * 400}", Start(20, lost=ResetReason.UNKNOWN_ID)),
    ],
)
def test_a_stream_goes_on_where_the_log_still_has_everything(given: str | None, start: Start) -> None:
    """The log has the numbers 10 to 20."""
    assert find_start(given, "ab", 10, 20) == start


def test_an_id_is_read_as_it_was_written() -> None:
    assert find_start(format_id("19d2f0a1b2c", 17), "19d2f0a1b2c", 1, 17) == Start(17, resumed=True)


def test_a_queue_keeps_the_order_and_leaves_out_what_is_not_for_its_audience() -> None:
    queue, news = feed(), []
    queue.on_news = lambda: news.append(1)
    for change in (recorded(1), recorded(2, "globex"), recorded(3)):
        queue.offer(change)
    assert [queue.pop().change.seq for _ in range(2)] == [1, 3]
    assert not queue
    assert len(news) == 2


def test_a_full_queue_is_emptied_and_takes_nothing_more() -> None:
    queue = feed()
    for seq in range(1, MAX_CHANGES + 2):
        assert not queue.overflowed
        queue.offer(recorded(seq))
    assert queue.overflowed
    queue.offer(recorded(9999))
    assert not queue


def test_the_first_reason_to_close_counts() -> None:
    queue = feed()
    queue.close(ClosingReason.ACCESS_CHANGED)
    queue.close(ClosingReason.DRAINING)
    assert queue.closing is ClosingReason.ACCESS_CHANGED


def test_counts_are_of_what_came_since_the_last_ones() -> None:
    counts = RequestCounts()
    assert not counts
    for seq, tenant, skipped in ((4, "globex", 2), (5, "acme", 1), (7, "globex", 3)):
        body = recorded(seq, tenant, skipped).body
        assert isinstance(body, RequestsRecorded)
        counts.add(body, seq, seq / 10)
    assert (counts.seq, counts.since_seconds) == (7, 0.4)
    found = counts.take()
    assert [(each.tenant, each.count) for each in found.requests] == [("acme", 1), ("globex", 5)]
    assert found.count == 6
    assert not counts
