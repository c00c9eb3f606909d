"""What an attempt record proves about its target, and what it does not."""

from datetime import timedelta

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import Target
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome
from services.health_monitor.evidence import COUNTS_AGAINST_TARGET, Evidence, ObservedAttempt, attempt_of
from tests.support.ledger.attempt_records import attempt_record
from tests.unit.health_monitor.attempts import NOON, OWN, seconds

SHORT_TIMEOUT = seconds(5)
OWN_ENDPOINT: dict[str, object] = {
    "provider": "custom",
    "endpoint": "ollama",
    "model": "llama",
    "key_source": KeySource.CUSTOM,
    "started_at": NOON,
    "latency_ms": 30_000,
    "first_token_ms": None,
}
SHARED: dict[str, object] = OWN_ENDPOINT | {"provider": "openai", "endpoint": None, "model": "gpt/4:x"}


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


def test_only_targets_of_own_endpoints_have_an_owner() -> None:
    shared = attempt_from(SHARED | {"key_source": KeySource.PLATFORM})
    assert shared.target == Target(provider="openai", model="gpt/4:x")
    assert attempt_from(OWN_ENDPOINT | {"tenant": "globex"}).target.tenant == "globex"


@pytest.mark.parametrize(
    "changes",
    [
        {"key_source": KeySource.NONE},
        {"provider": "echo"},
        {"endpoint": None},
        {"model": "m" * 201},
    ],
)
def test_records_without_a_target_are_skipped(changes: dict[str, object]) -> None:
    assert attempt_of(record(OWN_ENDPOINT | changes), stored_at=NOON, short_timeout=SHORT_TIMEOUT) is None


def test_an_attempt_did_not_end_after_the_bus_had_stored_it() -> None:
    attempt = attempt_of(record(OWN_ENDPOINT), stored_at=NOON + seconds(2), short_timeout=SHORT_TIMEOUT)
    assert attempt is not None
    assert attempt.ended_at == NOON + seconds(2)


def test_a_time_without_a_zone_is_utc() -> None:
    assert attempt_from(OWN_ENDPOINT | {"started_at": NOON.replace(tzinfo=None)}).started_at == NOON
