"""When a failed attempt is followed by another."""

import pytest

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import DEFAULT_FALLBACK_POLICY, FallbackAction, FallbackPolicy, actions_after, is_final
from keyferry.contracts.usage import RequestKind
from services.provider_worker.fallback import reroute
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
    assert (again is None) == is_final(actions_after(failed(failure_class), policy=DEFAULT_FALLBACK_POLICY))


@pytest.mark.parametrize("failure_class", FailureClass)
def test_without_another_candidate_only_what_may_be_tried_again_goes_back(failure_class: FailureClass) -> None:
    alone = run(remaining_candidates=0).model_copy(update={"returns_failure": True})
    again = reroute(alone, failed(failure_class), left_ms=5000, now_unix_ms=1_000)
    actions = actions_after(failed(failure_class), policy=DEFAULT_FALLBACK_POLICY)
    assert (again is not None) == (FallbackAction.RETRY in actions)


def test_a_request_that_is_too_long_goes_back_where_a_longer_model_may_be_added() -> None:
    alone = run(remaining_candidates=0).model_copy(update={"returns_failure": True})
    too_long = failed(FailureClass.CONTEXT_LENGTH)
    assert reroute(alone, too_long, left_ms=5000, now_unix_ms=0) is None
    policy = FallbackPolicy(longer_models=True)
    longer = alone.model_copy(update={"fallback_policy": policy})
    assert reroute(longer, too_long, left_ms=5000, now_unix_ms=0) is not None


def test_a_second_attempt_that_may_have_been_charged_is_the_last() -> None:
    hung = Failure(failure_class=FailureClass.TIMEOUT, message="hung", where=Where.NO_ANSWER)
    first = reroute(run(), hung, left_ms=5000, now_unix_ms=0)
    assert first is not None
    second = run().model_copy(update={"attempt_id": "att_second", "failed_attempts": first.failed_attempts})
    assert reroute(second, hung, left_ms=5000, now_unix_ms=0) is None
    assert reroute(second, failed(FailureClass.RATE_LIMIT), left_ms=5000, now_unix_ms=0) is not None


def test_the_routers_learn_what_failed_when_and_where() -> None:
    attempt = run().model_copy(update={"delay_ms": 300, "chosen_model": "gpt-4o"})
    again = reroute(
        attempt, failed(FailureClass.RATE_LIMIT), left_ms=5000, now_unix_ms=7_000, origin="https://a.example"
    )
    assert again is not None
    (one,) = again.failed_attempts
    assert (one.failed_at_unix_ms, one.delay_ms, one.origin) == (7_000, 300, "https://a.example")
    assert (one.chosen_model, one.key_source, one.no_key) == ("gpt-4o", attempt.key_source, False)


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
