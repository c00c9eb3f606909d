"""When an automatic top-up charges, months in zones with clock changes, and what failures lead to."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.billing.purchases.purchase_job import retry_delay
from services.billing.purchases.top_up_rules import RETRY_AFTER, TopUpDecision, after_failure, decide, month_window

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "now", "start", "end"),
    [
        ("UTC", "2026-11-30T23:59:59", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
        ("UTC", "2026-12-01T00:00:00", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        # the clocks go forward on March 28 and back on October 31
        ("Europe/Berlin", "2027-03-31T21:59:59", "2027-02-28T23:00:00", "2027-03-31T22:00:00"),
        ("Europe/Berlin", "2027-03-31T22:00:00", "2027-03-31T22:00:00", "2027-04-30T22:00:00"),
        ("Europe/Berlin", "2027-10-31T22:59:59", "2027-09-30T22:00:00", "2027-10-31T23:00:00"),
        ("America/New_York", "2026-11-01T03:59:59", "2026-10-01T04:00:00", "2026-11-01T04:00:00"),
        ("America/New_York", "2026-11-30T12:00:00", "2026-11-01T04:00:00", "2026-12-01T05:00:00"),
        ("Asia/Kathmandu", "2026-11-30T18:14:59", "2026-10-31T18:15:00", "2026-11-30T18:15:00"),
        ("Pacific/Kiritimati", "2026-11-30T10:00:00", "2026-11-30T10:00:00", "2026-12-31T10:00:00"),
        # February of a leap year
        ("UTC", "2028-02-29T12:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("no/such", "2026-11-30T12:00:00", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
    ],
)
def test_a_month_begins_and_ends_in_the_zone(zone: str, now: str, start: str, end: str) -> None:
    assert month_window(zone, utc(now)) == month_window(zone, utc(now))
    window = month_window(zone, utc(now))
    assert (window.start, window.end) == (utc(start), utc(end))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "Australia/Lord_Howe"])
def test_months_follow_one_another_without_a_gap(zone: str) -> None:
    at = utc("2020-01-15T00:00:00")
    for _ in range(120):
        window = month_window(zone, at)
        assert window.start <= at < window.end
        assert month_window(zone, window.end).start == window.end
        assert month_window(zone, window.end - timedelta(microseconds=1)) == window
        assert window.start.astimezone(ZoneInfo(zone)).day == 1
        at = window.end


@pytest.mark.parametrize(
    ("available", "spent", "decision"),
    [
        (1001, 0, TopUpDecision.ENOUGH),
        (1000, 0, TopUpDecision.CHARGE),
        (-5, 0, TopUpDecision.CHARGE),
        (0, 2000, TopUpDecision.CHARGE),
        (0, 2001, TopUpDecision.CEILING_REACHED),
        (1001, 3000, TopUpDecision.ENOUGH),
    ],
)
def test_a_payment_needs_low_credits_and_space_below_the_ceiling(
    available: int, spent: int, decision: TopUpDecision
) -> None:
    terms = {"threshold_micro_usd": 1000, "amount_cents": 1000, "ceiling_cents": 3000}
    assert decide(available_micro_usd=available, spent_cents=spent, **terms) is decision


def test_a_declined_payment_is_tried_a_few_times() -> None:
    failures, waits = 0, []
    while True:
        failed = after_failure("card_declined", "insufficient_funds", failures, NOW)
        assert failed.failures == failures + 1
        failures = failed.failures
        if failed.retry_at is None:
            break
        assert "insufficient_funds" in failed.reason
        waits.append(failed.retry_at - NOW)
    assert tuple(waits) == RETRY_AFTER
    assert "failed 4 times" in failed.reason
    assert "resume" in failed.reason


@pytest.mark.parametrize(
    ("code", "decline"),
    [
        ("authentication_required", None),
        ("card_declined", "authentication_required"),
        ("expired_card", "expired_card"),
        ("card_declined", "stolen_card"),
        ("resource_missing", None),
    ],
)
def test_what_the_card_cannot_overcome_pauses_at_once(code: str, decline: str | None) -> None:
    failed = after_failure(code, decline, 0, NOW)
    assert failed.retry_at is None
    assert "resume" in failed.reason


def test_outages_are_waited_for_ever_longer_up_to_ten_minutes() -> None:
    delays = [retry_delay(obstacles) for obstacles in range(100)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (timedelta(seconds=10), timedelta(minutes=10))
