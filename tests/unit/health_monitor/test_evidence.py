"""What an attempt record says about its target, and what it does not."""

from datetime import timedelta

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import Target
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome
from services.health_monitor.evidence import COUNTS_AGAINST_TARGET, Attempt, Weight, attempt_of
from tests.support.attempt_records import attempt_record
from tests.unit.health_monitor.attempts import NOON, OWN, seconds

HASTY = seconds(5)
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


def seen(changes: dict[str, object], failure: Failure | None = None) -> Attempt:
    attempt = attempt_of(record(changes, failure), stored_at=NOON + timedelta(hours=1), hasty=HASTY)
    assert attempt is not None
    return attempt


def failure_of(failure_class: FailureClass, **changes: object) -> Failure:
    return Failure.model_validate({"failure_class": failure_class, "message": "no", "where": Where.NO_ANSWER} | changes)


def test_every_failure_class_is_decided_upon() -> None:
    assert set(COUNTS_AGAINST_TARGET) == set(FailureClass)


@pytest.mark.parametrize("failure_class", list(FailureClass))
def test_what_counts_against_the_target(failure_class: FailureClass) -> None:
    blamed = {"server", "overloaded", "timeout", "truncated", "unreachable"}
    attempt = seen(OWN_ENDPOINT, failure_of(failure_class))
    assert attempt.weight is (Weight.FAILURE if failure_class.value in blamed else Weight.NOTHING)
    assert attempt.failure_class is failure_class


def test_an_answer_is_a_success() -> None:
    attempt = seen(OWN_ENDPOINT)
    assert (attempt.weight, attempt.failure_class, attempt.reached) == (Weight.SUCCESS, None, True)
    assert attempt.target == OWN
    assert attempt.ended_at == NOON + seconds(30)


def test_a_caller_who_leaves_says_nothing() -> None:
    left = seen(OWN_ENDPOINT | {"outcome": Outcome.CANCELLED}, failure_of(FailureClass.SERVER))
    assert left.weight is Weight.NOTHING


@pytest.mark.parametrize("failure_class", [FailureClass.RATE_LIMIT, FailureClass.OVERLOADED])
def test_a_target_may_ask_for_patience(failure_class: FailureClass) -> None:
    attempt = seen(OWN_ENDPOINT, failure_of(failure_class, retry_after_ms=7000, status=429))
    assert (attempt.weight, attempt.retry_after) == (Weight.PATIENCE, seconds(7))


def test_a_delay_on_another_failure_is_no_request_for_patience() -> None:
    attempt = seen(OWN_ENDPOINT, failure_of(FailureClass.SERVER, retry_after_ms=7000))
    assert (attempt.weight, attempt.retry_after) == (Weight.FAILURE, seconds(0))


def test_a_rate_limit_of_one_key_does_not_cool_what_others_share() -> None:
    limited = seen(SHARED | {"key_source": KeySource.BYOK}, failure_of(FailureClass.RATE_LIMIT, retry_after_ms=7000))
    overloaded = seen(SHARED | {"key_source": KeySource.BYOK}, failure_of(FailureClass.OVERLOADED, retry_after_ms=7000))
    assert limited.weight is Weight.NOTHING
    assert overloaded.weight is Weight.PATIENCE


def test_a_deadline_that_gave_no_time_proves_nothing() -> None:
    timeout = failure_of(FailureClass.TIMEOUT)
    assert seen(OWN_ENDPOINT | {"latency_ms": 4999}, timeout).weight is Weight.NOTHING
    assert seen(OWN_ENDPOINT | {"latency_ms": 5000}, timeout).weight is Weight.FAILURE
    assert seen(OWN_ENDPOINT | {"first_token_ms": 200}, timeout).weight is Weight.NOTHING


def test_a_timeout_that_the_provider_reports_counts_however_soon_it_comes() -> None:
    said = failure_of(FailureClass.TIMEOUT, where=Where.HTTP_STATUS, status=504)
    assert seen(OWN_ENDPOINT | {"latency_ms": 20}, said).weight is Weight.FAILURE


def test_only_a_refused_connection_leaves_it_open_whether_somebody_is_there() -> None:
    assert not seen(OWN_ENDPOINT, failure_of(FailureClass.UNREACHABLE)).reached
    assert not seen(OWN_ENDPOINT, failure_of(FailureClass.POLICY)).reached
    assert seen(OWN_ENDPOINT, failure_of(FailureClass.AUTH, status=401)).reached


def test_a_shared_provider_has_no_owner_and_an_own_endpoint_has() -> None:
    shared = seen(SHARED | {"key_source": KeySource.PLATFORM})
    assert shared.target == Target(provider="openai", model="gpt/4:x")
    assert seen(OWN_ENDPOINT | {"tenant": "globex"}).target.tenant == "globex"


@pytest.mark.parametrize(
    "changes",
    [
        {"key_source": KeySource.NONE},
        {"provider": "echo"},
        {"endpoint": None},
        {"provider": "a.b"},
        {"provider": "*"},
        {"endpoint": "two tokens"},
        {"model": ""},
        {"model": "m" * 201},
    ],
)
def test_what_has_no_target_is_passed_over(changes: dict[str, object]) -> None:
    assert attempt_of(record(OWN_ENDPOINT | changes), stored_at=NOON, hasty=HASTY) is None


def test_an_attempt_did_not_end_after_the_bus_had_stored_it() -> None:
    attempt = attempt_of(record(OWN_ENDPOINT), stored_at=NOON + seconds(2), hasty=HASTY)
    assert attempt is not None
    assert attempt.ended_at == NOON + seconds(2)


def test_a_time_without_a_zone_is_utc() -> None:
    assert seen(OWN_ENDPOINT | {"started_at": NOON.replace(tzinfo=None)}).started_at == NOON
