"""Nothing that may have been charged is repeated blindly: not by a router, and not by the caller of a request that failed."""

import pytest

from keyferry.client.retry_policy import is_safe_to_retry
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import mark_earlier_charge, may_be_charged
from keyferry.contracts.frames import Accepted
from keyferry.contracts.usage import KeySource
from services.ingress.dialects.openai import problem_from_failure
from services.provider_worker.adapters.response.errors import failure_of_error, failure_of_invalid_body
from tests.support.router.fallback_contexts import endpoints, with_endpoints
from tests.support.router.simulated_requests import Behaviour, Course, ProviderResult, SimulatedRouter

C, W = FailureClass, Where
HUNG = Failure(failure_class=C.TIMEOUT, message="silence", where=W.NO_ANSWER)
LIMITED = Failure(
    failure_class=C.RATE_LIMIT, message="slow down", where=W.HTTP_STATUS, status=429, retry_after_ms=90_000
)
ACCEPTED = Accepted(
    attempt_id="att_1",
    instance_id="inst_1",
    attempt_number=2,
    decision_id="dec_1",
    provider="openai",
    model="gpt-4o",
    key_source=KeySource.BYOK,
)


def by_server(**failures: Failure) -> Behaviour:
    return lambda run, at_ms: ProviderResult(failures.get(run.endpoint or run.provider))


def sent(behave: Behaviour, *names: str) -> Course:
    return SimulatedRouter(with_endpoints(endpoints(*names))).send(behave)


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[1, 2]", b'{"choices": [', b""])
def test_an_answer_that_cannot_be_used_may_have_been_paid_for_and_is_not_asked_for_again(body: bytes) -> None:
    unusable = failure_of_invalid_body(body)
    assert may_be_charged(unusable)
    assert sent(by_server(a=unusable), "a").servers == ["a"]
    assert sent(by_server(a=unusable, b=unusable), "a", "b", "c").servers == ["a", "b"]


def test_an_error_that_the_provider_reports_inside_a_200_costs_nothing() -> None:
    reported = failure_of_error({"message": "upstream is down", "code": 502}, W.HTTP_200_BODY, {})
    assert (reported.failure_class, may_be_charged(reported)) == (C.SERVER, False)
    assert sent(by_server(a=reported), "a").servers == ["a", "a", "a"]


def test_the_caller_of_a_request_that_may_have_been_paid_for_is_not_asked_to_repeat_it() -> None:
    """The last failure costs nothing and invites to come back: the attempt before it may have been paid for."""
    refusal = sent(by_server(a=HUNG, b=LIMITED), "a", "b").refusal
    assert refusal is not None
    assert (refusal.failure_class, refusal.where, refusal.charged_earlier) == (C.RATE_LIMIT, W.HTTP_STATUS, True)
    assert refusal.retry_after_ms
    assert not is_safe_to_retry(refusal, accepted=True)
    problem = problem_from_failure(refusal, ACCEPTED)
    assert (problem.status, problem.headers["x-should-retry"]) == (429, "false")


def test_a_request_of_which_nothing_was_paid_may_be_repeated() -> None:
    refusal = sent(by_server(a=LIMITED, b=LIMITED), "a", "b").refusal
    assert refusal is not None
    assert not refusal.charged_earlier
    assert is_safe_to_retry(refusal, accepted=True)
    assert "x-should-retry" not in problem_from_failure(refusal, ACCEPTED).headers


def test_what_may_itself_have_been_charged_needs_no_mark() -> None:
    assert mark_earlier_charge(HUNG, [HUNG]) == HUNG
    assert mark_earlier_charge(LIMITED, []) == LIMITED


@pytest.mark.parametrize("status", [408, 504, 524])
def test_a_timeout_that_a_status_reports_is_not_repeated_by_an_sdk(status: int) -> None:
    timeout = Failure(failure_class=C.TIMEOUT, message="late", where=W.HTTP_STATUS, status=status)
    assert problem_from_failure(timeout, ACCEPTED).headers["x-should-retry"] == "false"
