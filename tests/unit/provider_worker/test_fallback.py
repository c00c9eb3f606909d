"""When a failed attempt is followed by another."""

import pytest

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.usage import RequestKind
from services.provider_worker.fallback import RETRYABLE_ELSEWHERE, reroute
from tests.support.providers.attempt_runs import attempt_run


def run(remaining_candidates: int = 1) -> AttemptRun:
    return attempt_run(stream=True).model_copy(
        update={"remaining_candidates": remaining_candidates, "allowed_models": ["some-model"]}
    )


def failed(failure_class: FailureClass) -> Failure:
    return Failure(failure_class=failure_class, message="why")


@pytest.mark.parametrize("failure_class", FailureClass)
def test_only_failures_that_another_candidate_may_avoid_are_rerouted(failure_class: FailureClass) -> None:
    again = reroute(run(), failed(failure_class), left_ms=5000, now_unix_ms=1_000)
    assert (again is not None) == (failure_class in RETRYABLE_ELSEWHERE)


def test_invalid_forbidden_late_or_cancelled_requests_are_never_rerouted() -> None:
    never = {
        FailureClass.BAD_REQUEST,
        FailureClass.POLICY,
        FailureClass.LIMIT,
        FailureClass.EXPIRED,
        FailureClass.CANCELLED,
        FailureClass.INDETERMINATE,
    }
    assert not never & RETRYABLE_ELSEWHERE


def test_an_attempt_without_its_key_is_rerouted_and_one_of_a_frozen_worker_is_not() -> None:
    """Both are `unavailable`; but the caller of a frozen worker may have given up on it and sent the request again."""
    unavailable = failed(FailureClass.UNAVAILABLE)
    assert reroute(run(), unavailable, left_ms=5000, now_unix_ms=0) is None
    again = reroute(run(), unavailable, left_ms=5000, now_unix_ms=0, no_key=True)
    assert again is not None
    assert again.failed_attempts[-1].failure.failure_class is FailureClass.UNAVAILABLE
    assert reroute(run(remaining_candidates=0), unavailable, left_ms=5000, now_unix_ms=0, no_key=True) is None


def test_without_another_candidate_or_time_the_failure_is_final() -> None:
    assert reroute(run(remaining_candidates=0), failed(FailureClass.SERVER), left_ms=5000, now_unix_ms=0) is None
    assert reroute(run(), failed(FailureClass.SERVER), left_ms=99, now_unix_ms=0) is None
    assert reroute(run(), failed(FailureClass.SERVER), left_ms=100, now_unix_ms=0) is not None


def test_the_routers_are_asked_for_the_model_that_the_caller_asked_for() -> None:
    upstream = run().model_copy(update={"model": "served-as", "model_asked": "asked"})
    again = reroute(upstream, failed(FailureClass.SERVER), left_ms=5000, now_unix_ms=0)
    assert again is not None
    assert again.model == "asked"
    assert [attempt.model for attempt in again.failed_attempts] == ["served-as"]


def test_the_request_is_rerouted_unchanged_with_its_failed_attempts() -> None:
    again = reroute(run(), failed(FailureClass.SERVER), left_ms=4000, now_unix_ms=1_000)
    assert again is not None
    assert (again.model, again.deadline_ms, again.start_by_unix_ms) == ("some-model", 4000, 2_000)
    assert again.allowed_models == ["some-model"]
    assert [(failed.attempt_id, failed.failure.failure_class) for failed in again.failed_attempts] == [
        ("att_test", FailureClass.SERVER)
    ]


def test_earlier_failed_attempts_are_not_forgotten() -> None:
    """Otherwise two endpoints that both fail would be called in turn until the deadline."""
    first = reroute(run(), failed(FailureClass.SERVER), left_ms=4000, now_unix_ms=1_000)
    assert first is not None
    second = run().model_copy(update={"attempt_id": "att_second", "failed_attempts": first.failed_attempts})
    again = reroute(second, failed(FailureClass.TIMEOUT), left_ms=3000, now_unix_ms=2_000)
    assert again is not None
    assert [attempt.attempt_id for attempt in again.failed_attempts] == ["att_test", "att_second"]


def test_embeddings_stay_embeddings() -> None:
    embedding = run().model_copy(update={"kind": RequestKind.EMBEDDING, "stream": False})
    again = reroute(embedding, failed(FailureClass.SERVER), left_ms=5000, now_unix_ms=0)
    assert again is not None
    assert again.kind is RequestKind.EMBEDDING
