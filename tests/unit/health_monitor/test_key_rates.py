"""A key that has used most of its rate limit gives way to others; one that has used it up gets no requests."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.health import CircuitState, Health
from keyferry.contracts.usage import KeyRate, KeySource
from services.health_monitor.circuit import CircuitPolicy
from services.health_monitor.evidence import attempt_of
from services.health_monitor.registry import TargetHealthRegistry
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Monitor:
    def __init__(self) -> None:
        self.registry = TargetHealthRegistry(CircuitPolicy())
        self.count = 0

    def report(
        self, used_percent: int, reset_ms: int = 30_000, *, at: datetime = NOW, lasted_ms: int = 0
    ) -> list[Health]:
        """Record an answer with these headers, which began at once and lasted so long; return what changed."""
        self.count += 1
        record = attempt_record(
            attempt_id=f"att_{self.count}",
            provider="openai",
            model="gpt-4o",
            endpoint=None,
            origin="https://api.openai.com",
            key_source=KeySource.BYOK,
            key_id="key_1",
            started_at=at,
            latency_ms=lasted_ms,
            stream=True,
            first_token_ms=0,
            key_rate=KeyRate(used_percent=used_percent, reset_ms=reset_ms),
        )
        ended_at = at + timedelta(milliseconds=lasted_ms)
        attempt = attempt_of(record, stored_at=ended_at, short_timeout=timedelta(seconds=10))
        assert attempt is not None
        return self.registry.record(attempt, now=ended_at, jitter=0)


def test_from_80_percent_on_a_key_paces_until_its_reset() -> None:
    monitor = Monitor()
    assert monitor.report(79) == []
    (pacing,) = monitor.report(80)
    assert (pacing.state, pacing.target.key_id) == (CircuitState.PACING, "key_1")
    assert pacing.until == NOW + timedelta(seconds=30)
    assert pacing.reason == "80 % of its rate limit at the provider is used; it is whole again in 30 s"
    assert monitor.report(85) == [], "a change that makes no difference is no news"
    (over,) = monitor.registry.tick(NOW + timedelta(seconds=31))
    assert over.state is CircuitState.CLOSED


def test_a_key_that_has_used_all_of_it_cools_until_its_reset() -> None:
    monitor = Monitor()
    monitor.report(90)
    (cooling,) = monitor.report(100)
    assert cooling.state is CircuitState.COOLING
    assert cooling.until == NOW + timedelta(seconds=30)
    assert monitor.report(10) == [], "an answer that was under way does not end the pause"


def test_a_limit_that_is_whole_again_ends_pacing() -> None:
    monitor = Monitor()
    monitor.report(90)
    (closed,) = monitor.report(5)
    assert closed.state is CircuitState.CLOSED


def test_what_a_long_stream_reported_when_it_began_holds_no_key_back_after_the_reset() -> None:
    assert Monitor().report(100, reset_ms=30_000, lasted_ms=60_000) == []
    (cooling,) = Monitor().report(100, reset_ms=30_000, lasted_ms=20_000)
    assert cooling.until == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("used_percent", [5, 99])
def test_what_a_long_stream_reported_is_no_news_after_later_answers(used_percent: int) -> None:
    monitor = Monitor()
    (pacing,) = monitor.report(90, at=NOW + timedelta(seconds=10))
    assert pacing.state is CircuitState.PACING
    assert monitor.report(used_percent, reset_ms=15_000, lasted_ms=20_000) == []


@pytest.mark.parametrize("reset_ms", [0, 10**15])
def test_a_reset_that_is_unknown_or_absurd_holds_no_key_back_for_long(reset_ms: int) -> None:
    changed = Monitor().report(100, reset_ms)
    assert all(health.until is not None and health.until <= NOW + timedelta(minutes=10) for health in changed)
    assert len(changed) == (1 if reset_ms else 0)
