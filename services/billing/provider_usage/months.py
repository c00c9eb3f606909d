"""When a month is compared. Pure."""

from datetime import UTC, date, datetime, timedelta

RUN_AT_HOUR = 6


def next_run(day_of_month: int, after: datetime) -> datetime:
    """Return the next time of a monthly comparison after a moment, at 06:00 UTC."""
    run = datetime(after.year, after.month, day_of_month, RUN_AT_HOUR, tzinfo=UTC)
    if run > after:
        return run
    following = (after.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime(following.year, following.month, day_of_month, RUN_AT_HOUR, tzinfo=UTC)


def month_before(day: date) -> tuple[date, date]:
    """Return the first and the last day of the month before that of `day`."""
    last = day.replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


def days_between(since: date, until: date) -> list[date]:
    """Return the days from one to another, both included."""
    return [since + timedelta(days=number) for number in range((until - since).days + 1)]
