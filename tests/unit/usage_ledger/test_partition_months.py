"""Months of ids: their bounds, which months are missing, and which leave."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts import ids
from services.usage_ledger.partitions.months import (
    MONTHS_AHEAD,
    IdRange,
    Month,
    Partition,
    Retention,
    bounds_of,
    missing,
    outdated,
    parse_bounds,
)

MOMENTS = st.integers(10**10, 7 * 10**12).map(lambda unix_ms: datetime.fromtimestamp(unix_ms / 1000, UTC))
TABLES = st.sampled_from(["attempts", "decisions"])
PREFIX = {"attempts": ids.ATTEMPT, "decisions": ids.DECISION}


@given(MOMENTS, TABLES)
def test_an_id_is_in_the_month_in_which_it_was_made(moment: datetime, table: str) -> None:
    unix_ms = int(moment.timestamp() * 1000)
    made = ids.new(PREFIX[table], unix_ms=unix_ms)
    month = Month.of(datetime.fromtimestamp(unix_ms / 1000, UTC))
    bounds = bounds_of(table, month)
    assert bounds.from_id <= made < bounds.until_id
    assert (bounds.begins_at, bounds.ends_at) == (month.begins_at, month.plus(1).begins_at)
    assert not bounds_of(table, month.plus(-1)).until_id > made
    assert bounds_of(table, month.plus(1)).from_id > made


@given(MOMENTS)
def test_the_beginning_of_ids_has_their_time(moment: datetime) -> None:
    unix_ms = int(moment.timestamp() * 1000)
    first = ids.first_at(ids.ATTEMPT, unix_ms)
    assert ids.unix_ms_of(first) == unix_ms == ids.unix_ms_of(ids.new(ids.ATTEMPT, unix_ms=unix_ms))
    assert ids.new(ids.ATTEMPT, unix_ms=unix_ms - 1) < first <= ids.new(ids.ATTEMPT, unix_ms=unix_ms)


@pytest.mark.parametrize("text", ["", "att_", "att_1", "att_zzzzzzzzzz", "att_ÄÄÄÄÄÄÄÄÄÄ"])
def test_a_text_that_is_no_id_has_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        ids.unix_ms_of(text)


def test_what_a_month_is_made_of_is_read_from_postgresql() -> None:
    assert parse_bounds("FOR VALUES FROM ('att_05nlspn800') TO ('att_06h2tplg00')") == IdRange(
        "att_05nlspn800", "att_06h2tplg00"
    )
    assert parse_bounds("DEFAULT") is None


def month_of(table: str, month: Month) -> Partition:
    return Partition(table, f"{table}_{month}", bounds_of(table, month))


def test_months_are_made_ahead_once_and_never_over_one_that_is_there() -> None:
    now = datetime(2026, 12, 31, 23, tzinfo=UTC)
    first = list(missing([], now))
    assert [one.name for one in first] == [
        f"{table}_{month}" for table in PREFIX for month in ("2026_12", "2027_01", "2027_02", "2027_03")
    ]
    assert list(missing(first, now)) == []
    assert [one.name for one in missing(first, now + timedelta(days=1))] == ["attempts_2027_04", "decisions_2027_04"]
    # A partition of an earlier build, until the end of the month, with a gap before the next.
    former = IdRange(ids.first_at(ids.ATTEMPT, 0), bounds_of("attempts", Month.of(now)).until_id)
    names = [one.name for one in missing([Partition("attempts", "attempts_until_2026_12", former)], now)]
    assert names[:MONTHS_AHEAD] == ["attempts_2027_01", "attempts_2027_02", "attempts_2027_03"]


def test_a_month_leaves_once_all_of_it_is_older() -> None:
    retention = Retention(attempts_days=None, decisions_days=30, detached_days=None)
    october = month_of("decisions", Month(2026, 10))
    other = Partition("decisions", "decisions_other", None)
    kept = [month_of("decisions", Month(2026, 11)), month_of("attempts", Month(2020, 1)), other]
    end = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=30)
    assert outdated([*kept, october], retention, end - timedelta(microseconds=1)) == []
    assert outdated([*kept, october], retention, end) == [october]
    assert outdated([*kept, october], Retention(None, None, 1), end) == []
