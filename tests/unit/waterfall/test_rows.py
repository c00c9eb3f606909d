"""Rows of a waterfall: every span once, below its parent, whatever the spans say."""

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.traces import SpanRecord
from keyferry.waterfall.rows import arrange
from tests.support.traces.spans import BEGAN_NS, MILLISECOND, served_request, span


def test_spans_stand_below_their_parents_in_the_order_of_time() -> None:
    waterfall = arrange(list(reversed(served_request("req_1", "acme"))))
    assert [(row.depth, row.span.name, row.offset_ns // MILLISECOND) for row in waterfall.rows] == [
        (0, "POST /v1/chat/completions", 0),
        (1, "router.decide", 2),
        (2, "chat gpt-4o-mini", 5),
        (3, "router.decide", 121),
        (4, "chat gpt-4o", 125),
        (5, "key_vault.lease", 126),
        (5, "usage_ledger.record", 660),
    ]
    assert (waterfall.began_unix_ns, waterfall.duration_ns) == (BEGAN_NS, 671 * MILLISECOND)
    assert not any(row.moved_ns or row.orphan for row in waterfall.rows)


def test_a_process_whose_clock_is_slow_is_shown_later_as_a_whole() -> None:
    slow = {"service": "provider-worker", "instance_id": "worker-2"}
    spans = [span(1, None, 0, 100), span(2, 1, -60_000, -59_950, **slow), span(3, 2, -59_990, -59_960, **slow)]
    waterfall = arrange(spans)
    assert [(row.offset_ns, row.moved_ns) for row in waterfall.rows] == [
        (0, 0),
        (0, 60_000 * MILLISECOND),
        (10 * MILLISECOND, 60_000 * MILLISECOND),
    ]
    assert waterfall.duration_ns == 100 * MILLISECOND


def test_a_span_that_ends_before_it_began_takes_no_time() -> None:
    (row,) = arrange([span(1, None, 5, 1)]).rows
    assert (row.offset_ns, row.duration_ns) == (0, 0)


def test_a_missing_parent_and_a_circle_of_parents_leave_every_span_a_row() -> None:
    rows = arrange([span(1, 9, 0, 1), span(2, 3, 1, 2), span(3, 2, 2, 3), span(4, 4, 3, 4)]).rows
    assert [(row.span.span_id[-1], row.depth, row.orphan) for row in rows] == [
        ("1", 0, True),
        ("2", 0, False),
        ("3", 1, False),
        ("4", 0, False),
    ]


def test_two_thousand_spans_below_each_other_are_arranged() -> None:
    rows = arrange([span(number, number - 1 or None, number, 4000) for number in range(1, 2001)]).rows
    assert [row.depth for row in rows] == list(range(2000))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 12), st.integers(0, 14), st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 3)
        ),
        max_size=25,
    )
)
def test_every_span_has_exactly_one_row_within_the_whole(drawn: list[tuple[int, int, int, int, int]]) -> None:
    spans: list[SpanRecord] = [
        span(number, parent or None, begin, end, instance_id=f"process-{process}")
        for number, parent, begin, end, process in drawn
    ]
    waterfall = arrange(spans)
    assert sorted(row.span.span_id for row in waterfall.rows) == sorted({each.span_id for each in spans})
    assert all(0 <= row.offset_ns <= row.offset_ns + row.duration_ns <= waterfall.duration_ns for row in waterfall.rows)
    place = {row.span.span_id: number for number, row in enumerate(waterfall.rows)}
    for row in waterfall.rows:
        if row.depth:
            assert place[row.span.parent_span_id or ""] < place[row.span.span_id]
