"""What a process keeps of its counts until the ledger has recorded them."""

from datetime import UTC, datetime, timedelta

from keyferry.contracts.service_levels import MAX_REPORTED_COUNTS, SLOT, ServiceLevelName, slot_of
from keyferry.runtime.service_levels.counting import ServiceLevelCounts

NOW = datetime(2026, 11, 21, 12, 3, 20, tzinfo=UTC)
ROUTING, FALLBACK = ServiceLevelName.ROUTING, ServiceLevelName.FALLBACK


def reported(counts: ServiceLevelCounts) -> list[tuple[str, str, int, int]]:
    return [(each.level, f"{each.slot:%H:%M}", each.good, each.bad) for each in counts.pending()]


def test_events_are_counted_by_slot() -> None:
    counts = ServiceLevelCounts()
    for minutes, good in ((0, True), (1, False), (2, True)):
        counts.add(ROUTING, good, NOW + timedelta(minutes=minutes))
    counts.add(FALLBACK, True, NOW)
    assert reported(counts) == [("fallback", "12:00", 1, 0), ("routing", "12:00", 1, 1), ("routing", "12:05", 1, 0)]
    assert slot_of(NOW.astimezone()) == datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_what_was_recorded_is_reported_again_only_if_it_has_grown() -> None:
    counts = ServiceLevelCounts()
    counts.add(ROUTING, True, NOW)
    sent = counts.pending()
    counts.add(ROUTING, False, NOW)  # while the report is under way
    counts.confirm(sent, NOW)
    assert reported(counts) == [("routing", "12:00", 1, 1)]
    counts.confirm(counts.pending(), NOW)
    assert reported(counts) == []
    counts.add(ROUTING, True, NOW)
    assert reported(counts) == [("routing", "12:00", 2, 1)]


def test_a_slot_is_forgotten_when_it_is_over_and_recorded_whole() -> None:
    counts = ServiceLevelCounts()
    counts.add(ROUTING, True, NOW)
    sent = counts.pending()
    counts.add(ROUTING, True, NOW)
    counts.confirm(sent, NOW + SLOT)
    assert reported(counts) == [("routing", "12:00", 2, 0)]
    counts.confirm(counts.pending(), NOW + SLOT)
    assert not counts._counts
    assert counts.totals[ROUTING] == [2, 0]


def test_a_long_outage_of_the_ledger_takes_bounded_memory() -> None:
    counts = ServiceLevelCounts()
    for slot in range(MAX_REPORTED_COUNTS):
        for name in ServiceLevelName:
            counts.add(name, False, NOW + slot * SLOT)
    kept = counts.pending()
    assert len(kept) <= MAX_REPORTED_COUNTS
    assert counts.dropped == MAX_REPORTED_COUNTS * len(ServiceLevelName) - len(kept)
    assert max(each.slot for each in kept) == slot_of(NOW + (MAX_REPORTED_COUNTS - 1) * SLOT)
