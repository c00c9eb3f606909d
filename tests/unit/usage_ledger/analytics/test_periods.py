"""Spans and buckets of zones, their clocks' changes included."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.analytics import MAX_CELLS, AnalyticsQuery, BucketLength
from services.usage_ledger.analytics.periods import (
    InvalidSpan,
    QuarterSpan,
    are_days_of_utc,
    buckets,
    ceil_quarter,
    floor_quarter,
    moment,
    resolve,
)

ZONES = [
    *(
        "UTC",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "America/Havana",
    ),
    *("Africa/Cairo", "America/St_Johns", "Pacific/Chatham", "America/Sao_Paulo", "Asia/Beirut", "Africa/Monrovia"),
]
NOW = datetime(2026, 11, 29, 9, 40, tzinfo=UTC)


def days(tz: str, first: str, last: str) -> list[QuarterSpan]:
    zone = ZoneInfo(tz)
    since, until = (floor_quarter(datetime.fromisoformat(each).replace(tzinfo=zone)) for each in (first, last))
    return buckets(QuarterSpan(since, until), BucketLength.DAY, zone)


@pytest.mark.parametrize(
    ("tz", "first", "last", "quarters"),
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-31", [96, 92, 96]),
        ("Europe/Berlin", "2026-10-24", "2026-10-27", [96, 100, 96]),
        ("Australia/Lord_Howe", "2026-04-04", "2026-04-07", [96, 98, 96]),
        ("Australia/Lord_Howe", "2026-10-03", "2026-10-06", [96, 94, 96]),
        ("Africa/Cairo", "2026-04-23", "2026-04-26", [96, 92, 96]),
        ("America/Sao_Paulo", "2018-11-03", "2018-11-06", [96, 92, 96]),
        ("Pacific/Apia", "2011-12-29", "2012-01-01", [96, 96]),
        ("Asia/Kathmandu", "2026-05-01", "2026-05-03", [96, 96]),
    ],
)
def test_days_are_as_long_as_the_zones_clocks_make_them(tz: str, first: str, last: str, quarters: list[int]) -> None:
    assert [span.until - span.since for span in days(tz, first, last)] == quarters


def test_a_day_begins_where_its_zone_says() -> None:
    found = days("Asia/Kathmandu", "2026-05-01", "2026-05-02")
    assert found[0].bounds[0] == datetime(2026, 4, 30, 18, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tz", "since", "lengths"),
    [
        ("Europe/Berlin", datetime(2026, 10, 24, 23, tzinfo=UTC), [4, 4, 4, 4]),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 13, tzinfo=UTC), [4, 4, 2, 4, 2]),
    ],
)
def test_hours_are_those_of_the_zone(tz: str, since: datetime, lengths: list[int]) -> None:
    start = floor_quarter(since)
    found = buckets(QuarterSpan(start, start + 16), BucketLength.HOUR, ZoneInfo(tz))
    assert [span.until - span.since for span in found] == lengths


@given(
    st.sampled_from(ZONES),
    st.sampled_from(list(BucketLength)),
    st.datetimes(datetime(1970, 1, 3), datetime(2190, 1, 1)),  # noqa: DTZ001 - the strategy wants them without a zone
    st.integers(0, 1_000),
)
def test_buckets_cover_a_span_without_gap_or_overlap(
    tz: str, length: BucketLength, start: datetime, quarters: int
) -> None:
    since = floor_quarter(start.replace(tzinfo=UTC))
    found = buckets(QuarterSpan(since, since + quarters), length, ZoneInfo(tz))
    assert [span.since for span in found[1:]] == [span.until for span in found[:-1]]
    assert all(span.since < span.until for span in found)
    assert not found or (found[0].since, found[-1].until) == (since, since + quarters)
    assert bool(found) == bool(quarters)


@pytest.mark.parametrize(
    ("length", "tz", "since", "until", "starts"),
    [
        ("15m", "UTC", "2026-03-25T12:15", "2026-03-25T13:00", ["25 12:15", "25 12:30", "25 12:45"]),
        ("day", "Asia/Tokyo", "2026-03-25T12:00", "2026-03-26T20:00", ["25 12:00", "25 15:00", "26 15:00"]),
        ("day", "America/New_York", "2026-03-25T02:00", "2026-03-26T06:00", ["25 02:00", "25 04:00", "26 04:00"]),
        # A Wednesday; clocks are set forward before the first Monday.
        ("week", "Europe/Berlin", "2026-03-18T12:00", "2026-03-31T00:00", ["18 12:00", "22 23:00", "29 22:00"]),
        ("week", "UTC", "2026-03-16T00:00", "2026-03-24T00:00", ["16 00:00", "23 00:00"]),
        ("month", "Europe/Berlin", "2026-01-31T23:00", "2026-04-02T00:00", ["31 23:00", "28 23:00", "31 22:00"]),
        ("month", "UTC", "2026-01-15T00:00", "2026-03-01T00:15", ["15 00:00", "01 00:00", "01 00:00"]),
    ],
)
def test_a_bucket_begins_with_each_period_of_the_zone(
    length: str, tz: str, since: str, until: str, starts: list[str]
) -> None:
    ends = (floor_quarter(datetime.fromisoformat(each).replace(tzinfo=UTC)) for each in (since, until))
    found = buckets(QuarterSpan(*ends), BucketLength(length), ZoneInfo(tz))
    assert [f"{moment(each.since):%d %H:%M}" for each in found] == starts


@pytest.mark.usefixtures("far_east")
def test_days_are_of_the_zone_whatever_this_machines_is() -> None:
    since, until = (floor_quarter(datetime(2026, 3, 29, hour, 30, tzinfo=UTC)) for hour in (10, 12))
    found = buckets(QuarterSpan(since, until), BucketLength.DAY, ZoneInfo("Pacific/Pago_Pago"))
    assert [each.bounds[0].hour for each in found] == [10, 11]


def resolved(query: Mapping[str, object]) -> tuple[list[str], list[str]]:
    found = resolve(AnalyticsQuery.model_validate(query), NOW, None)
    spans = (found.span, found.previous)
    first, second = ([f"{each:%Y-%m-%d %H:%M}" for each in span.bounds] if span else [] for span in spans)
    return first, second


@pytest.mark.parametrize(
    ("query", "span", "previous"),
    [
        (
            {"period": "24h"},
            ["2026-11-28 09:45", "2026-11-29 09:45"],
            ["2026-11-27 09:45", "2026-11-28 09:45"],
        ),
        (
            {"period": "7d"},
            ["2026-11-23 00:00", "2026-11-29 09:45"],
            ["2026-11-16 00:00", "2026-11-22 09:45"],
        ),
        (
            {"period": "30d"},
            ["2026-10-31 00:00", "2026-11-29 09:45"],
            ["2026-10-01 00:00", "2026-10-30 09:45"],
        ),
        (
            {"period": "7d", "tz": "Asia/Kolkata"},
            ["2026-11-22 18:30", "2026-11-29 09:45"],
            ["2026-11-15 18:30", "2026-11-22 09:45"],
        ),
        (
            {"period": "2026-11", "tz": "Europe/Berlin"},
            ["2026-10-31 23:00", "2026-11-30 23:00"],
            ["2026-09-30 22:00", "2026-10-29 08:45"],
        ),
        (
            {"period": "2026-03", "tz": "Europe/Berlin"},
            ["2026-02-28 23:00", "2026-03-31 22:00"],
            ["2026-01-31 23:00", "2026-02-28 23:00"],
        ),
        (
            {"since": "2026-11-01T00:07:00Z", "until": "2026-11-01T01:01:00Z"},
            ["2026-11-01 00:00", "2026-11-01 01:15"],
            ["2026-10-31 22:45", "2026-11-01 00:00"],
        ),
        (
            {"since": "2026-11-01T00:00:00", "until": "2026-11-02T00:00:00", "tz": "Asia/Kathmandu"},
            ["2026-10-31 18:15", "2026-11-01 18:15"],
            ["2026-10-30 18:15", "2026-10-31 18:15"],
        ),
        (
            # The hours of a month that is yet to come are compared with none.
            {"period": "2027-05"},
            ["2027-05-01 00:00", "2027-06-01 00:00"],
            ["2027-04-01 00:00", "2027-04-01 00:00"],
        ),
        (
            {"since": "1970-01-01T01:00:00Z", "until": "1970-01-01T02:00:00Z"},
            ["1970-01-01 01:00", "1970-01-01 02:00"],
            ["1970-01-01 00:00", "1970-01-01 01:00"],
        ),
        (
            {"since": "1970-01-01T01:00:00Z", "until": "1970-01-01T02:15:00Z"},
            ["1970-01-01 01:00", "1970-01-01 02:15"],
            [],
        ),
        (
            # A time with a zone of its own is not of the query's.
            {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00+02:00", "tz": "Asia/Kathmandu"},
            ["2026-11-01 00:00", "2026-11-01 22:00"],
            ["2026-10-31 02:00", "2026-11-01 00:00"],
        ),
        ({"period": "all"}, ["2026-11-29 09:45", "2026-11-29 09:45"], []),
        ({"period": "1970-01"}, ["1970-01-01 00:00", "1970-02-01 00:00"], []),
    ],
)
def test_a_period_is_a_span_in_its_zone(query: dict[str, str], span: list[str], previous: list[str]) -> None:
    assert resolved(query) == (span, previous)


def test_everything_is_what_is_recorded() -> None:
    recorded = QuarterSpan(ceil_quarter(NOW) - 5, ceil_quarter(NOW))
    assert resolve(AnalyticsQuery(period="all"), NOW, recorded).span == recorded
    assert resolve(AnalyticsQuery(until=NOW), NOW, recorded) == (recorded, None), "and is compared with nothing"


@pytest.mark.parametrize("now", [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)])
def test_a_month_that_is_over_is_compared_with_all_of_a_longer_one(now: datetime) -> None:
    found = resolve(AnalyticsQuery(period="2026-02"), now, None).previous
    assert found is not None
    assert found.bounds == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


BACKWARDS = "`until` must be later than `since`"
NO_MONTH = "a month of the years 1970 to 2199"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"since": NOW, "until": NOW - timedelta(days=1)}, BACKWARDS),
        ({"since": NOW + timedelta(days=1)}, BACKWARDS),
        ({"period": "0000-01"}, NO_MONTH),
        ({"period": "1969-12"}, NO_MONTH),
        ({"period": "2200-01"}, NO_MONTH),
        ({"since": datetime(9998, 1, 1, tzinfo=UTC), "until": datetime(9998, 2, 1, tzinfo=UTC)}, BACKWARDS),
    ],
)
def test_an_impossible_span_is_refused(query: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidSpan, match=reason):
        resolved(query)


def test_limits_between_days_of_utc_are_found() -> None:
    assert are_days_of_utc([QuarterSpan(5, 96), QuarterSpan(96, 192), QuarterSpan(192, 195)])
    assert not are_days_of_utc([QuarterSpan(0, 96), QuarterSpan(96, 193), QuarterSpan(193, 289)])
    assert not are_days_of_utc([QuarterSpan(0, 97), QuarterSpan(97, 192), QuarterSpan(192, 193)])
    assert are_days_of_utc([QuarterSpan(5, 7)])


@pytest.mark.parametrize("length", list(BucketLength))
def test_too_many_buckets_are_refused_before_they_are_counted(length: BucketLength) -> None:
    everything = QuarterSpan(0, floor_quarter(datetime(2199, 1, 1, tzinfo=UTC)))
    with pytest.raises(InvalidSpan, match=f"buckets of `{length}`: choose longer buckets"):
        buckets(everything, length, ZoneInfo("UTC"), lines=2)


def test_as_many_buckets_as_an_answer_can_have_are_not_too_many() -> None:
    zone = ZoneInfo("UTC")
    assert len(buckets(QuarterSpan(0, MAX_CELLS), BucketLength.QUARTER_HOUR, zone)) == MAX_CELLS
    for span in (QuarterSpan(0, MAX_CELLS + 1), QuarterSpan(3, 4 * MAX_CELLS)):
        length = BucketLength.QUARTER_HOUR if span.since == 0 else BucketLength.HOUR
        with pytest.raises(InvalidSpan):
            buckets(span, length, zone, lines=1 if span.since == 0 else 2)


def test_quarters_are_of_utc() -> None:
    assert moment(floor_quarter(NOW)) == datetime(2026, 11, 29, 9, 30, tzinfo=UTC)
    assert (ceil_quarter(moment(5)), ceil_quarter(moment(0))) == (5, 0)
