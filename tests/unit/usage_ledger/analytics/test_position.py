"""Usage is complete up to a moment once all that was in the stream then is recorded."""

from datetime import UTC, datetime, timedelta

from nats.js import JetStreamContext

from services.usage_ledger.analytics.position import IngestMarks, IngestPosition

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


def test_nothing_is_complete_that_the_spool_of_a_dead_worker_may_have() -> None:
    settled: list[datetime | None] = [None]

    def jetstream() -> JetStreamContext:
        raise AssertionError("nothing is read")

    position = IngestPosition(jetstream, lambda: at(0), timedelta(minutes=2), lambda: settled[0])
    position.marks.note(at(1000), last=5, recorded=5)
    assert position.complete_until() is None, "no watermark is known yet"
    settled[0] = at(999)
    assert position.complete_until() == at(999 - 120 - 5)
    settled[0] = at(2000)
    assert position.complete_until() == at(1000 - 120 - 5)
    short = IngestPosition(jetstream, lambda: at(0), timedelta(seconds=1), lambda: settled[0])
    short.marks.note(at(1000), last=5, recorded=5)
    assert short.complete_until() == at(1000 - 60 - 5), "its reservation may end so much later than it began"
