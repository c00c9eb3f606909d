"""Pauses that a router learns from a request that comes back, before the health view has them."""

from datetime import datetime, timedelta

import pytest

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import LONGEST_COOLING, CircuitState, Health, Target, target_of_call
from keyferry.contracts.usage import KeySource
from services.router.fallback import cooldowns
from services.router.fallback.cooldowns import Cooldowns, recovery_of
from tests.support.router.simulated_requests import EPOCH, unix_ms

ORIGIN = "https://api.openai.com"


def limited(
    key_id: str = "key_1",
    *,
    failure_class: FailureClass = FailureClass.RATE_LIMIT,
    retry_after_ms: int | None = 5000,
    failed_at_ms: int = 0,
    origin: str | None = ORIGIN,
    model: str = "gpt-4o",
) -> FailedAttempt:
    return FailedAttempt(
        attempt_id="att_1",
        provider="openai",
        model=model,
        key_id=key_id,
        key_source=KeySource.BYOK,
        origin=origin,
        failure=Failure(
            failure_class=failure_class, message="slow", where=Where.HTTP_STATUS, retry_after_ms=retry_after_ms
        ),
        failed_at_unix_ms=unix_ms(failed_at_ms),
    )


def target(model: str = "gpt-4o") -> Target:
    return target_of_call(
        provider="openai", model=model, origin=ORIGIN, key_source=KeySource.BYOK, tenant="acme", endpoint=None
    )


OF_ACME = target().of_tenant("acme")


def later(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def test_a_rate_limit_pauses_one_key_until_the_providers_time() -> None:
    known = Cooldowns()
    known.learn("acme", [limited()], EPOCH)
    found = known.of(target().of_key("key_1", "acme"), EPOCH)
    assert found is not None
    assert (found.state, found.until, found.failure_class) == (CircuitState.COOLING, later(5), FailureClass.RATE_LIMIT)
    assert known.of(target().of_key("key_2", "acme"), EPOCH) is None
    assert known.of(target(), EPOCH) is None
    assert known.of(target().of_key("key_1", "acme"), later(5)) is None


def test_an_overloaded_provider_pauses_the_target_for_all_keys_of_the_tenant() -> None:
    """What it asks of an own key may be about its account: that is no reason for other tenants' requests to wait."""
    known = Cooldowns()
    known.learn("acme", [limited(failure_class=FailureClass.OVERLOADED)], EPOCH)
    assert known.of(target().of_tenant("acme"), EPOCH) is not None
    assert known.of(target().of_tenant("globex"), EPOCH) is None
    assert known.of(target(), EPOCH) is None


def test_an_overloaded_provider_pauses_the_platforms_keys_for_everybody() -> None:
    known = Cooldowns()
    failed = limited(failure_class=FailureClass.OVERLOADED).model_copy(update={"key_source": KeySource.PLATFORM})
    known.learn("acme", [failed], EPOCH)
    platform = target_of_call(
        provider="openai", model="gpt-4o", origin=ORIGIN, key_source=KeySource.PLATFORM, tenant="globex", endpoint=None
    )
    assert known.of(platform, EPOCH) is not None


@pytest.mark.parametrize(
    "failed",
    [
        limited(retry_after_ms=None),
        limited(retry_after_ms=0),
        limited(origin=None),
        limited(failure_class=FailureClass.AUTH),
        limited(failure_class=FailureClass.SERVER),
        limited(failed_at_ms=-5000),
    ],
)
def test_what_asks_for_no_pause_is_not_remembered(failed: FailedAttempt) -> None:
    known = Cooldowns()
    known.learn("acme", [failed], EPOCH)
    assert len(known) == 0


@pytest.mark.parametrize(
    ("failed_at_ms", "retry_after_ms", "recovers_in_seconds"),
    [(0, 5000, 5), (-2000, 5000, 3), (+60_000, 5000, 5), (-60_000, 5000, 0), (0, 10**15, 600)],
)
def test_a_delay_counts_from_the_failure_whatever_the_clocks_say(
    failed_at_ms: int, retry_after_ms: int, recovers_in_seconds: int
) -> None:
    failed = limited(failed_at_ms=failed_at_ms, retry_after_ms=retry_after_ms)
    assert recovery_of(failed, EPOCH) == later(recovers_in_seconds)
    assert recovery_of(failed.model_copy(update={"failed_at_unix_ms": None}), EPOCH) == EPOCH + min(
        timedelta(milliseconds=retry_after_ms), LONGEST_COOLING
    )


def test_the_longer_of_the_published_and_the_known_pause_holds_and_an_open_circuit_stays_open() -> None:
    known = Cooldowns()
    known.learn("acme", [limited(failure_class=FailureClass.OVERLOADED)], EPOCH)

    def published(state: CircuitState, seconds: float) -> Health:
        return Health(target=OF_ACME, state=state, reason="r", until=later(seconds), changed_at=EPOCH)

    def found(health: Health | None) -> Health | None:
        return known.later(OF_ACME, health, EPOCH)

    shorter, longer = published(CircuitState.COOLING, 1), published(CircuitState.COOLING, 9)
    is_open = published(CircuitState.OPEN, 1)
    assert found(longer) is longer
    assert found(is_open) is is_open
    for health in (None, shorter):
        chosen = found(health)
        assert chosen is not None
        assert chosen.until == later(5)
    assert known.later(target("other"), shorter, EPOCH) is shorter


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    known = Cooldowns()
    known.learn("acme", [limited(retry_after_ms=9000)], EPOCH)
    known.learn("acme", [limited(retry_after_ms=1000)], EPOCH)
    found = known.of(target().of_key("key_1", "acme"), EPOCH)
    assert found is not None
    assert found.until == later(9)


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooldowns, "MAX_COOLDOWNS", 10)
    known = Cooldowns()
    for number in range(50):
        known.learn("acme", [limited(f"key_{number}")], EPOCH)
    assert len(known) == 10
    assert known.of(target().of_key("key_49", "acme"), EPOCH) is not None
