"""The table of what may follow a failed attempt: complete, and never a second charge without limit."""

import itertools

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import (
    DEFAULT_FALLBACK_POLICY,
    FALLBACKS,
    WITHOUT_KEY,
    FallbackAction,
    FallbackPolicy,
    actions_after,
    is_final,
    may_be_charged,
)

C, A = FailureClass, FallbackAction
FAILURES = list(itertools.product(FailureClass, Where))
NEVER_FOLLOWED = {
    *(C.BAD_REQUEST, C.POLICY, C.LIMIT, C.CREDIT, C.BUDGET, C.UNAVAILABLE),
    *(C.EXPIRED, C.CANCELLED, C.INDETERMINATE),
}
GENEROUS = FallbackPolicy(after_content_filter=True, longer_models=True)


def failed(failure_class: FailureClass, where: Where = Where.HTTP_STATUS) -> Failure:
    return Failure(failure_class=failure_class, message="why", where=where)


def test_the_table_has_a_rule_for_every_class_of_failure() -> None:
    assert set(FALLBACKS) == set(FailureClass)


@pytest.mark.parametrize(("failure_class", "where"), FAILURES)
def test_every_failure_has_actions_and_stop_stands_alone(failure_class: FailureClass, where: Where) -> None:
    actions = actions_after(failed(failure_class, where), policy=GENEROUS)
    assert actions
    assert len(set(actions)) == len(actions)
    assert (A.STOP in actions) == is_final(actions) == (failure_class in NEVER_FOLLOWED)


@pytest.mark.parametrize(("failure_class", "where"), FAILURES)
def test_what_may_have_been_charged_is_never_repeated_at_the_same_provider(
    failure_class: FailureClass, where: Where
) -> None:
    failure = failed(failure_class, where)
    if may_be_charged(failure):
        assert not {A.RETRY, A.NEXT_KEY} & set(actions_after(failure, policy=GENEROUS))
        assert is_final(actions_after(failure, policy=FallbackPolicy(after_possible_charge=False)))
        assert is_final(actions_after(failure, earlier=[failed(C.TIMEOUT)], policy=GENEROUS))
    else:
        first = actions_after(failure, policy=GENEROUS)
        assert actions_after(failure, earlier=[failed(C.TIMEOUT)], policy=GENEROUS) == first


@pytest.mark.parametrize(
    ("failure", "charged"),
    [
        (failed(C.OVERLOADED), False),
        (failed(C.RATE_LIMIT, Where.HTTP_200_BODY), False),
        (failed(C.UNREACHABLE, Where.NOT_SENT), False),
        (failed(C.TIMEOUT, Where.NOT_SENT), False),
        (failed(C.TIMEOUT), True),
        (failed(C.TIMEOUT, Where.NO_ANSWER), True),
        (failed(C.SERVER), False),
        (failed(C.SERVER, Where.NO_ANSWER), True),
        (failed(C.TRUNCATED, Where.HTTP_200_BODY), True),
        (failed(C.CONTENT_FILTER), False),
        (failed(C.CONTENT_FILTER, Where.HTTP_200_BODY), True),
        (failed(C.INTERNAL, Where.GATEWAY), True),
    ],
)
def test_a_failure_may_have_been_charged_if_the_provider_may_have_worked(failure: Failure, charged: bool) -> None:
    assert may_be_charged(failure) is charged


def test_the_keys_of_a_provider_come_first_where_the_failure_is_the_keys() -> None:
    of_the_key = {c for c in FailureClass if actions_after(failed(c), policy=GENEROUS)[0] is A.NEXT_KEY}
    assert of_the_key == {C.AUTH, C.QUOTA, C.RATE_LIMIT, C.NOT_FOUND}


def test_only_transient_failures_are_retried() -> None:
    retried = {c for c in FailureClass if A.RETRY in FALLBACKS[c].not_charged}
    assert retried == {C.RATE_LIMIT, C.OVERLOADED, C.SERVER, C.UNREACHABLE, C.TIMEOUT}


def test_a_request_that_is_too_long_only_goes_to_longer_models() -> None:
    assert actions_after(failed(C.CONTEXT_LENGTH), policy=DEFAULT_FALLBACK_POLICY) == (A.LONGER_CONTEXT,)


def test_a_content_filter_is_followed_only_with_permission() -> None:
    assert is_final(actions_after(failed(C.CONTENT_FILTER), policy=DEFAULT_FALLBACK_POLICY))
    permitted = actions_after(failed(C.CONTENT_FILTER), policy=FallbackPolicy(after_content_filter=True))
    assert permitted == (A.NEXT_PROVIDER, A.NEXT_MODEL)


def test_an_attempt_without_its_key_is_followed_by_the_next_one_and_a_busy_gateway_is_not() -> None:
    unavailable = failed(C.UNAVAILABLE, Where.NOT_SENT)
    assert actions_after(unavailable, policy=DEFAULT_FALLBACK_POLICY, no_key=True) == WITHOUT_KEY.not_charged
    assert is_final(actions_after(unavailable, policy=DEFAULT_FALLBACK_POLICY))
