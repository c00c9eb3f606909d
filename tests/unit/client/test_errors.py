"""Every failure class has an error class with the details that a program needs."""

import pytest

from keyferry import client
from keyferry.client.errors import ERRORS, build_error
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.route import DecisionSummary


def test_every_failure_class_has_exactly_one_error() -> None:
    assert set(ERRORS) == set(FailureClass)


@pytest.mark.parametrize("kind", FailureClass)
def test_every_error_is_exported(kind: FailureClass) -> None:
    raised = build_error(Failure(failure_class=kind, message="why"), request_id="req_1", decision_id="dec_1")
    assert isinstance(raised, client.KeyferryError)
    assert type(raised).__name__ in client.__all__
    assert (raised.failure.failure_class, raised.request_id, raised.decision_id) == (kind, "req_1", "dec_1")
    assert str(raised) == "why (req_1)"


def test_only_interchangeable_failures_share_an_error() -> None:
    same = {FailureClass.EXPIRED, FailureClass.TIMEOUT}
    others = [ERRORS[kind] for kind in FailureClass if kind not in same]
    assert len(set(others)) == len(others)
    assert client.TimedOut not in others


def test_gateway_limit_is_caught_as_rate_limited() -> None:
    assert issubclass(client.LimitReached, client.RateLimited)


@pytest.mark.parametrize(("delay_ms", "seconds"), [(None, None), (0, 0.0), (1500, 1.5)])
def test_retry_after_is_in_seconds(delay_ms: int | None, seconds: float | None) -> None:
    failure = Failure(failure_class=FailureClass.RATE_LIMIT, message="later", retry_after_ms=delay_ms)
    assert build_error(failure).retry_after_seconds == seconds


def test_a_refused_request_has_the_decision_that_it_asked_for() -> None:
    decided = DecisionSummary(request_id="req_1", decision_id="dec_1", model_asked="m")
    assert build_error(Failure(failure_class=FailureClass.POLICY, message="why"), decision=decided).decision is decided
