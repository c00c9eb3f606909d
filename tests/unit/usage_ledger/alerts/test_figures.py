"""Sums that are kept while usage changes: they are those that all of it gives."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.alert_metrics import AlertMetric
from services.usage_ledger.alerts.figures import WatchedSeries, WatchedUsage
from services.usage_ledger.analytics.periods import QuarterSpan

USAGE = st.builds(
    WatchedUsage,
    requests=st.integers(0, 50),
    tokens=st.integers(0, 5000),
    spend_micro_usd=st.integers(0, 10**9),
    attempts=st.integers(0, 50),
    failed=st.integers(0, 50),
    latencies=st.dictionaries(st.integers(-1, 5), st.integers(1, 9), max_size=3),
)
CELLS = st.dictionaries(st.integers(0, 40), USAGE, max_size=8)
STEP = st.tuples(st.integers(0, 40), CELLS, st.integers(0, 6), st.integers(1, 12))


def plain_sum(cells: dict[int, WatchedUsage], span: QuarterSpan) -> WatchedUsage:
    total = WatchedUsage()
    for quarter, usage in cells.items():
        if span.since <= quarter < span.until:
            total.add(usage)
    return total


@given(st.lists(STEP, max_size=12))
def test_a_kept_sum_is_the_sum_of_everything(
    steps: Sequence[tuple[int, dict[int, WatchedUsage], int, int]],
) -> None:
    series, everything, since = WatchedSeries(), dict[int, WatchedUsage](), 0
    for changed_from, cells, moved, length in steps:
        new = {quarter: usage for quarter, usage in cells.items() if quarter >= changed_from}
        everything = {quarter: usage for quarter, usage in everything.items() if quarter < changed_from} | new
        series.replace(changed_from, new)
        since += moved
        span = QuarterSpan(since, since + length)
        assert series.total(span) == plain_sum(everything, span)
        assert series.total(span) == plain_sum(everything, span), "to ask again changes nothing"


def test_nothing_used_has_no_share_of_failures() -> None:
    assert WatchedUsage().measure(AlertMetric.FAILED_PERCENT) is None
    assert WatchedUsage().measure(AlertMetric.LATENCY_P95) is None
    assert WatchedUsage().measure(AlertMetric.SPEND) == 0
