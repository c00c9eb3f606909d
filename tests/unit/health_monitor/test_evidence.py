"""What an attempt record proves about its target, and what it does not."""

from datetime import timedelta

import pytest

from keyferry.contracts.failure import COUNTS_AGAINST_TARGET, Failure, FailureClass, Where
from keyferry.contracts.health import KeyClass, Target
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome
from services.health_monitor.evidence import Evidence, ObservedAttempt, attempt_of
from tests.support.ledger.attempt_records import attempt_record
from tests.unit.health_monitor.attempts import NOON, ORIGIN, OWN, seconds

SHORT_TIMEOUT = seconds(5)
OWN_ENDPOINT: dict[str, object] = {
    "provider": "custom",
    "endpoint": "ollama",
    "model": "llama",
    "key_source": KeySource.CUSTOM,
    "started_at": NOON,
    "latency_ms": 30_000,
    "first_token_ms": None,
    "origin": None,
}
SHARED: dict[str, object] = OWN_ENDPOINT | {
    "provider": "openai",
    "endpoint": None,
    "model": "gpt/4:x",
    "origin": ORIGIN,
}


def record(changes: dict[str, object], failure: Failure | None = None) -> AttemptRecord:
    outcome = Outcome.COMPLETED if failure is None else Outcome.FAILED
    return attempt_record(**({"outcome": outcome, "failure": failure} | changes))


def attempt_from(changes: dict[str, object], failure: Failure | None = None) -> ObservedAttempt:
    attempt = attempt_of(record(changes, failure), stored_at=NOON + timedelta(hours=1), short_timeout=SHORT_TIMEOUT)
    assert attempt is not None
    return attempt


def failure_of(failure_class: FailureClass, **changes: object) -> Failure:
    return Failure.model_validate({"failure_class": failure_class, "message": "no", "where": Where.NO_ANSWER} | changes)


def test_every_failure_class_is_classified() -> None:
    assert set(COUNTS_AGAINST_TARGET) == set(FailureClass)


@pytest.mark.parametrize("failure_class", list(FailureClass))
def test_what_counts_against_the_target(failure_class: FailureClass) -> None:
    blamed = {"server", "overloaded", "timeout", "truncated", "unreachable"}
    attempt = attempt_from(OWN_ENDPOINT, failure_of(failure_class))
    assert attempt.evidence is (Evidence.FAILURE if failure_class.value in blamed else Evidence.NEUTRAL)
    assert attempt.failure_class is failure_class


def test_an_answer_is_a_success() -> None:
    attempt = attempt_from(OWN_ENDPOINT)
    assert (attempt.evidence, attempt.failure_class, attempt.reached) == (Evidence.SUCCESS, None, True)
    assert attempt.target == OWN
    assert attempt.ended_at == NOON + seconds(30)


def test_a_caller_who_disconnects_proves_nothing() -> None:
    left = attempt_from(OWN_ENDPOINT | {"outcome": Outcome.CANCELLED}, failure_of(FailureClass.SERVER))
    assert left.evidence is Evidence.NEUTRAL


@pytest.mark.parametrize("failure_class", [FailureClass.RATE_LIMIT, FailureClass.OVERLOADED])
def test_a_target_may_request_a_pause(failure_class: FailureClass) -> None:
    attempt = attempt_from(OWN_ENDPOINT, failure_of(failure_class, retry_after_ms=7000, status=429))
    assert (attempt.evidence, attempt.retry_after) == (Evidence.RETRY_LATER, seconds(7))


def test_a_retry_after_on_another_failure_is_no_pause() -> None:
    attempt = attempt_from(OWN_ENDPOINT, failure_of(FailureClass.SERVER, retry_after_ms=7000))
    assert (attempt.evidence, attempt.retry_after) == (Evidence.FAILURE, seconds(0))


def test_a_rate_limit_of_one_key_does_not_cool_a_shared_target() -> None:
    limited = attempt_from(
        SHARED | {"key_source": KeySource.BYOK}, failure_of(FailureClass.RATE_LIMIT, retry_after_ms=7000)
    )
    overloaded = attempt_from(
        SHARED | {"key_source": KeySource.BYOK}, failure_of(FailureClass.OVERLOADED, retry_after_ms=7000)
    )
    assert limited.evidence is Evidence.NEUTRAL
    assert overloaded.evidence is Evidence.RETRY_LATER


def test_a_too_short_deadline_proves_nothing() -> None:
    timeout = failure_of(FailureClass.TIMEOUT)
    assert attempt_from(OWN_ENDPOINT | {"latency_ms": 4999}, timeout).evidence is Evidence.NEUTRAL
    assert attempt_from(OWN_ENDPOINT | {"latency_ms": 5000}, timeout).evidence is Evidence.FAILURE
    assert attempt_from(OWN_ENDPOINT | {"first_token_ms": 200}, timeout).evidence is Evidence.NEUTRAL


def test_a_timeout_that_the_provider_reports_counts_however_soon_it_comes() -> None:
    reported = failure_of(FailureClass.TIMEOUT, where=Where.HTTP_STATUS, status=504)
    assert attempt_from(OWN_ENDPOINT | {"latency_ms": 20}, reported).evidence is Evidence.FAILURE


def test_only_a_failed_connection_does_not_count_as_reached() -> None:
    assert not attempt_from(OWN_ENDPOINT, failure_of(FailureClass.UNREACHABLE)).reached
    assert not attempt_from(OWN_ENDPOINT, failure_of(FailureClass.POLICY)).reached
    assert attempt_from(OWN_ENDPOINT, failure_of(FailureClass.AUTH, status=401)).reached


def test_targets_differ_by_address_and_key_class() -> None:
    shared = attempt_from(SHARED | {"key_source": KeySource.PLATFORM})
    assert shared.target == Target(provider="openai", model="gpt/4:x", origin=ORIGIN, key_class=KeyClass.PLATFORM)
    own = attempt_from(SHARED | {"key_source": KeySource.BYOK})
    assert own.target == Target(provider="openai", model="gpt/4:x", origin=ORIGIN, key_class=KeyClass.OWN)
    eu = attempt_from(SHARED | {"key_source": KeySource.BYOK, "origin": "https://eu.api.openai.com"})
    assert len({shared.target.key, own.target.key, eu.target.key}) == 3


def test_what_a_tenant_has_chosen_is_its_own_target() -> None:
    """An endpoint, a server without a name, and a provider's key with an address of its own."""
    assert attempt_from(OWN_ENDPOINT | {"tenant": "globex"}).target.tenant == "globex"
    assert attempt_from(OWN_ENDPOINT | {"tenant": "globex", "endpoint": None}).target.tenant == "globex"
    proxy = SHARED | {"key_source": KeySource.BYOK, "origin": "https://llm.globex.example", "tenant": "globex"}
    assert attempt_from(proxy).target.tenant == "globex"
    assert attempt_from(SHARED | {"key_source": KeySource.BYOK, "tenant": "globex"}).target.tenant is None


def test_a_429_lets_its_key_pause_and_nothing_else() -> None:
    limited = failure_of(FailureClass.RATE_LIMIT, retry_after_ms=7000, status=429)
    own = attempt_from(SHARED | {"key_source": KeySource.BYOK, "key_id": "key_own", "tenant": "acme"}, limited)
    assert (own.evidence, own.key_pause) == (Evidence.NEUTRAL, seconds(7))
    assert own.cooling_key is not None
    assert (own.cooling_key.key_id, own.cooling_key.tenant) == ("key_own", "acme")
    platform = attempt_from(SHARED | {"key_source": KeySource.PLATFORM, "key_id": "key_plat"}, limited)
    assert platform.cooling_key is not None
    assert platform.cooling_key.tenant is None
    endpoint = attempt_from(OWN_ENDPOINT | {"key_id": "key_lab", "tenant": "acme"}, limited)
    assert endpoint.cooling_key is not None
    assert endpoint.evidence is Evidence.NEUTRAL


@pytest.mark.parametrize("failure_class", [FailureClass.OVERLOADED, FailureClass.QUOTA, FailureClass.AUTH])
def test_only_a_rate_limit_lets_a_key_pause(failure_class: FailureClass) -> None:
    with_key = SHARED | {"key_source": KeySource.BYOK, "key_id": "key_own"}
    assert attempt_from(with_key, failure_of(failure_class, retry_after_ms=7000)).cooling_key is None


def test_a_429_without_a_delay_lets_nothing_pause() -> None:
    with_key = SHARED | {"key_source": KeySource.BYOK, "key_id": "key_own"}
    assert attempt_from(with_key, failure_of(FailureClass.RATE_LIMIT)).cooling_key is None


def test_the_echo_has_latencies_and_no_failures() -> None:
    echo = {"provider": "echo", "endpoint": None, "model": "echo", "key_source": KeySource.NONE, "origin": None}
    assert attempt_from(OWN_ENDPOINT | echo).evidence is Evidence.SUCCESS
    failed = attempt_from(OWN_ENDPOINT | echo, failure_of(FailureClass.SERVER))
    assert failed.evidence is Evidence.NEUTRAL
    assert failed.target.key_class is KeyClass.NONE


def test_a_name_that_no_key_of_the_view_can_hold_has_no_target() -> None:
    changes = OWN_ENDPOINT | {"model": "m" * 201}
    assert attempt_of(record(changes), stored_at=NOON, short_timeout=SHORT_TIMEOUT) is None


def test_an_attempt_did_not_end_after_the_bus_had_stored_it() -> None:
    attempt = attempt_of(record(OWN_ENDPOINT), stored_at=NOON + seconds(2), short_timeout=SHORT_TIMEOUT)
    assert attempt is not None
    assert attempt.ended_at == NOON + seconds(2)


def test_a_time_without_a_zone_is_utc() -> None:
    assert attempt_from(OWN_ENDPOINT | {"started_at": NOON.replace(tzinfo=None)}).started_at == NOON
