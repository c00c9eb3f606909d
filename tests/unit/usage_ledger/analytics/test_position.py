"""Usage is complete up to a moment once all that was in the stream then is recorded."""

from datetime import UTC, datetime, timedelta

from services.usage_ledger.analytics.position import IngestMarks

START = datetime(2026, 11, 29, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def test_what_is_recorded_follows_the_stream() -> None:
    marks = IngestMarks()
    marks.note(at(0), last=10, recorded=4)
    assert marks.recorded_until is None
    marks.note(at(1), last=20, recorded=10)
    assert marks.recorded_until == at(0)
    marks.note(at(2), last=30, recorded=19)
    assert marks.recorded_until == at(0)
    marks.note(at(3), last=30, recorded=30)
    assert marks.recorded_until == at(3)


def test_an_idle_stream_is_complete_now() -> None:
    marks = IngestMarks()
    for second in range(3):
        marks.note(at(second), last=5, recorded=5)
    assert marks.recorded_until == at(2)


def test_a_backlog_of_any_length_is_bounded_and_never_early() -> None:
    marks = IngestMarks()
    for second in range(10_000):
        marks.note(at(second), last=second * 10, recorded=0 if second else -1)
    assert marks.recorded_until in (None, at(0))
    marks.note(at(10_000), last=100_000, recorded=95_000)
    assert marks.recorded_until == at(9_500)
