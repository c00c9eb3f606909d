"""Which spans are stored: those of kept traces, each once, within bounds."""

from contextlib import suppress

import pytest

from keyferry.contracts.failure import FailureClass
from keyferry.runtime.tracing import telemetry as telemetry_module
from keyferry.runtime.tracing.sampling import KEPT_SECONDS, KeepReason, KeptTraces, TraceOptions, keep_reason
from keyferry.runtime.tracing.span import Span, child_span, current_span, work_for
from keyferry.runtime.tracing.telemetry import Telemetry

TRACE = "0af7651916cd43dd8448eb211c80319c"
UNSAMPLED, SAMPLED = f"00-{TRACE}-b7ad6b7169203331-00", f"00-{TRACE}-b7ad6b7169203331-01"


def recorder(**options: float) -> Telemetry:
    return Telemetry("router", {}, TraceOptions(**options))  # type: ignore[arg-type]


def ended(telemetry: Telemetry, name: str, parent: str | None = UNSAMPLED) -> Span:
    span = telemetry.start(name, parent)
    span.end()
    return span


def names(telemetry: Telemetry) -> list[str]:
    return [span.name for span in telemetry.take()]


def test_the_spans_of_a_trace_are_stored_once_it_is_kept_and_those_that_end_later_too() -> None:
    telemetry = recorder()
    ended(telemetry, "before")
    ended(telemetry, "of another trace", None)
    running = telemetry.start("running", UNSAMPLED)
    assert names(telemetry) == []
    telemetry.on_kept([TRACE])
    assert names(telemetry) == ["before"]
    running.end()
    running.end()
    telemetry.on_kept([TRACE])
    assert names(telemetry) == ["running"]
    assert names(telemetry) == []


def test_a_sampled_trace_is_stored_without_an_announcement() -> None:
    telemetry = recorder()
    span = telemetry.start("x", SAMPLED)
    assert span.traceparent == f"00-{TRACE}-{span.span_id}-01"
    span.fail("server")
    telemetry.finish(span)
    assert telemetry.take() == [span]
    assert telemetry.take_announcements() == []


def test_a_trace_that_failed_is_announced_once() -> None:
    telemetry = recorder()
    for _ in range(2):
        span = telemetry.start("x", UNSAMPLED)
        span.fail("server")
        telemetry.finish(span)
    assert telemetry.take_announcements() == [TRACE]
    assert len(telemetry.take()) == 2
    assert telemetry.counts == {KeepReason.ERROR: 1}


def test_the_oldest_held_span_makes_way() -> None:
    telemetry = recorder(buffer_spans=2)
    for name in ("a", "b", "c"):
        ended(telemetry, name)
    telemetry.on_kept([TRACE])
    assert names(telemetry) == ["b", "c"]


def test_callers_keep_no_more_than_the_budget() -> None:
    telemetry = recorder(max_per_second=1)
    spans = [telemetry.start("x", SAMPLED, from_outside=True) for _ in range(7)]
    assert [span.sampled for span in spans] == [True] * 5 + [False] * 2
    assert spans[-1].traceparent.endswith("-00")
    assert telemetry.start("x", SAMPLED).sampled, "within the installation the flag is the first process's decision"
    spans[-1].keep(KeepReason.ERROR)
    assert telemetry.take_announcements() == []
    assert telemetry.counts == {KeepReason.CALLER: 5, "over_budget": 3}


def test_its_own_share_is_sampled_within_the_budget() -> None:
    assert not any(recorder().start("x").sampled for _ in range(100))
    telemetry = recorder(sample_ratio=1, max_per_second=2)
    assert sum(telemetry.start("x").sampled for _ in range(100)) == 10
    unlimited = recorder(sample_ratio=0.5, max_per_second=10_000)
    assert 400 < sum(unlimited.start("x").sampled for _ in range(1000)) < 600


def test_what_cannot_be_stored_waits_within_a_bound_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry_module, "_MAX_PENDING", 3)
    telemetry = recorder()
    for name in ("a", "b", "c", "d"):
        ended(telemetry, name, SAMPLED)
    taken = telemetry.take()
    ended(telemetry, "e", SAMPLED)
    telemetry.put_back(taken)
    assert names(telemetry) == ["c", "d", "e"]
    assert telemetry.counts["dropped"] == 2


def test_a_process_that_records_nothing_passes_the_context_on() -> None:
    telemetry = recorder(buffer_spans=0, sample_ratio=1)
    carried, fresh = telemetry.start("x", SAMPLED, from_outside=True), telemetry.start("x")
    assert (carried.traceparent, carried.child("y").traceparent) == (SAMPLED, SAMPLED)
    assert fresh.traceparent.endswith("-00")
    for span in (carried, fresh):
        span.fail("server")
        telemetry.finish(span)
    assert (telemetry.take(), telemetry.take_announcements()) == ([], [])


@pytest.mark.parametrize(
    ("error", "seconds", "reason"),
    [
        (None, 1, None),
        (None, 31, KeepReason.SLOW),
        (FailureClass.SERVER, 1, KeepReason.ERROR),
        (FailureClass.CANCELLED, 31, KeepReason.CANCELLED),
        (FailureClass.BAD_REQUEST, 1, None),
        (FailureClass.LIMIT, 1, None),
        (FailureClass.LIMIT, 31, KeepReason.SLOW),
        ("500", 1, KeepReason.ERROR),
    ],
)
def test_why_a_trace_is_kept(error: str | None, seconds: float, reason: KeepReason | None) -> None:
    assert keep_reason(error, seconds, 30) is reason


def test_kept_traces_are_forgotten_in_time() -> None:
    kept = KeptTraces()
    assert [kept.add("a", 0), kept.add("b", 1), kept.add("a", 2)] == [True, True, False]
    kept.expire(1 + KEPT_SECONDS)
    assert ("a" in kept, "b" in kept) == (True, False)
    kept.expire(2 + KEPT_SECONDS)
    assert len(kept) == 0


def test_a_part_of_an_operation_hangs_below_it_and_says_how_it_failed() -> None:
    telemetry = recorder()
    span = telemetry.start("whole", SAMPLED)
    with child_span("without a whole") as nothing:
        assert nothing is None
    work_for(span)
    with suppress(KeyError), child_span("part"):
        assert current_span() is not span
        raise KeyError("a secret")
    assert current_span() is span
    work_for(None)
    (part,) = telemetry.take()
    assert (part.name, part.parent_span_id, part.error) == ("part", span.span_id, "KeyError")
