"""A request is retried only if the provider cannot have charged for it, and only within its deadline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.client.retry_policy import is_safe_to_retry, wait_seconds
from keyferry.contracts.failure import Failure, FailureClass, Where

C, W = FailureClass, Where
PAID_PERHAPS = (W.NO_ANSWER, W.HTTP_200_BODY, W.MID_STREAM)


def make_failure(kind: FailureClass, where: Where, retry_after_ms: int | None = None) -> Failure:
    return Failure(failure_class=kind, message="m", where=where, retry_after_ms=retry_after_ms)


@pytest.mark.parametrize("kind", FailureClass)
@pytest.mark.parametrize("where", PAID_PERHAPS)
@pytest.mark.parametrize("accepted", [False, True])
def test_no_retry_if_the_provider_may_have_charged(kind: FailureClass, where: Where, accepted: bool) -> None:
    assert not is_safe_to_retry(make_failure(kind, where, 10), accepted=accepted)


@pytest.mark.parametrize("kind", FailureClass)
def test_no_retry_if_the_gateway_failed_after_acceptance(kind: FailureClass) -> None:
    assert not is_safe_to_retry(make_failure(kind, W.GATEWAY, 10), accepted=True)


@pytest.mark.parametrize(
    ("kind", "where", "retry_after_ms", "again"),
    [
        (C.UNREACHABLE, W.NOT_SENT, None, True),
        (C.BAD_REQUEST, W.NOT_SENT, None, False),
        (C.UNAVAILABLE, W.GATEWAY, None, True),
        (C.OVERLOADED, W.GATEWAY, None, True),
        (C.LIMIT, W.GATEWAY, 10, True),
        (C.LIMIT, W.GATEWAY, None, False),
        (C.RATE_LIMIT, W.HTTP_STATUS, 10, True),
        (C.RATE_LIMIT, W.HTTP_STATUS, None, False),
        (C.OVERLOADED, W.HTTP_STATUS, 10, True),
        (C.SERVER, W.HTTP_STATUS, 10, False),
        (C.UNAVAILABLE, W.HTTP_STATUS, 10, False),
        (C.POLICY, W.GATEWAY, None, False),
        (C.NOT_FOUND, W.GATEWAY, None, False),
        (C.EXPIRED, W.GATEWAY, None, False),
        (C.INTERNAL, W.GATEWAY, None, False),
    ],
)
def test_temporary_uncharged_failures_are_retried(
    kind: FailureClass, where: Where, retry_after_ms: int | None, again: bool
) -> None:
    assert is_safe_to_retry(make_failure(kind, where, retry_after_ms), accepted=False) == again


def wait(failure: Failure, retries: int = 0, left_seconds: float = 60, chance: float = 0.5) -> float | None:
    return wait_seconds(
        failure, accepted=False, retries=retries, max_retries=2, left_seconds=left_seconds, chance=chance
    )


def test_retries_are_bounded() -> None:
    failure = make_failure(C.UNAVAILABLE, W.GATEWAY)
    assert [wait(failure, retries) is None for retries in range(4)] == [False, False, True, True]


def test_no_wait_beyond_the_deadline() -> None:
    failure = make_failure(C.LIMIT, W.GATEWAY, 30_000)
    assert wait(failure, left_seconds=29) is None
    assert wait(failure, left_seconds=60) is not None


@given(st.integers(0, 100_000), st.floats(0, 1), st.integers(0, 1))
def test_retry_after_is_respected(retry_after_ms: int, chance: float, retries: int) -> None:
    waited = wait(make_failure(C.LIMIT, W.GATEWAY, retry_after_ms), retries, left_seconds=1000, chance=chance)
    assert waited is not None
    assert retry_after_ms / 1000 <= waited <= retry_after_ms / 1000 * 1.25


@given(st.floats(0, 1), st.integers(0, 1))
def test_default_waits_are_short_and_jittered(chance: float, retries: int) -> None:
    waited = wait(make_failure(C.UNAVAILABLE, W.GATEWAY), retries, chance=chance)
    assert waited is not None
    assert 0.05 <= waited <= 0.2
