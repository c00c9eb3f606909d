"""Retry budgets: a tenth of the requests of the last seconds, for a server and for each tenant, whatever the clock does."""

import pytest

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.router.fallback import retry_budget
from services.router.fallback.memory import FallbackMemory
from services.router.fallback.retry_budget import RetryBudget, is_repeated
from tests.support.router.fallback_contexts import endpoints, with_endpoints, with_keys
from tests.support.router.keys_and_prices import at_own_address, key_facts
from tests.support.router.simulated_requests import Course, ProviderResult, SimulatedRouter

OVERLOADED = Failure(failure_class=FailureClass.OVERLOADED, message="busy", where=Where.HTTP_STATUS, status=503)


def spend(budget: RetryBudget, now: float, tenant: str = "acme") -> int:
    """Return how many retries are allowed at once."""
    count = 0
    while budget.allows(tenant, "openai", now):
        budget.count(tenant, "openai", now, retry=True)
        count += 1
    return count


def requests(budget: RetryBudget, count: int, now: float, tenant: str = "acme") -> None:
    for _ in range(count):
        budget.count(tenant, "openai", now, retry=False)


def test_a_tenth_of_the_requests_may_be_tried_again() -> None:
    budget = RetryBudget()
    requests(budget, 250, 1000.0)
    assert spend(budget, 1000.5) == 25


def test_a_quiet_provider_gets_a_retry_a_second() -> None:
    assert spend(RetryBudget(), 5.0) == 10


def test_requests_and_retries_are_forgotten_after_ten_seconds() -> None:
    budget = RetryBudget()
    requests(budget, 500, 100.0)
    assert spend(budget, 105.0) == 50
    assert spend(budget, 109.9) == 0
    assert spend(budget, 115.0) == 10


def test_one_tenant_cannot_use_up_what_others_earn() -> None:
    budget = RetryBudget()
    requests(budget, 1000, 1.0, "big")
    requests(budget, 100, 1.0, "small")
    assert spend(budget, 1.0, "small") == 10
    assert spend(budget, 1.0, "big") == 100


def test_the_budget_of_a_provider_binds_all_its_tenants() -> None:
    budget = RetryBudget()
    assert sum(spend(budget, 1.0, f"tenant-{number}") for number in range(50)) == 10


def test_a_clock_that_goes_back_or_far_ahead_allows_no_more() -> None:
    budget = RetryBudget()
    requests(budget, 200, 1000.0)
    assert spend(budget, 1000.0) == 20
    assert spend(budget, 900.0) == 0
    assert spend(budget, 10_000_000.0) == 10


def test_budgets_that_are_idle_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_budget, "_MAX_WINDOWS", 20)
    budget = RetryBudget()
    for number in range(100):
        budget.count(f"tenant-{number}", "openai", float(number), retry=False)
    assert len(budget) <= 21


def test_an_attempt_after_a_refused_key_is_no_retry() -> None:
    def after(failure_class: FailureClass, *, no_key: bool = False) -> bool:
        failure = Failure(failure_class=failure_class, message="no", where=Where.HTTP_STATUS)
        failed = FailedAttempt(attempt_id="a", provider="openai", model="m", failure=failure, no_key=no_key)
        return is_repeated([failed])

    refused = {FailureClass.AUTH, FailureClass.QUOTA, FailureClass.NOT_FOUND}
    assert {c for c in FailureClass if not after(c)} == refused
    assert not after(FailureClass.UNAVAILABLE, no_key=True)


@pytest.mark.parametrize("per_second", [10, 50, 200])
def test_a_provider_that_always_fails_gets_at_most_a_tenth_more_calls_than_requests(per_second: int) -> None:
    """The circuit breaker is left out: it would end the calls, and the budget has to hold without it."""
    router = SimulatedRouter(with_endpoints(endpoints("a")))
    seconds = 30
    courses: list[Course] = []
    for number in range(seconds * per_second):
        courses.append(
            router.send(
                lambda run, at_ms: ProviderResult(OVERLOADED),
                at_ms=number * 1000 // per_second,
                request_id=f"req_{number}",
            )
        )
    calls = sum(len(course.begun) for course in courses)
    assert 1.0 < calls / len(courses) <= 1.12
    assert all(
        course.refusal is not None and course.refusal.failure_class is FailureClass.OVERLOADED for course in courses
    )


def test_an_own_address_of_a_key_has_a_budget_of_its_own() -> None:
    """A tenant's proxy that fails must not use up the retries of the provider whose name it has."""
    memory = FallbackMemory()
    proxy, direct = key_facts("openai", "key_proxy"), at_own_address(key_facts("openai", "key_direct"))
    for number in range(50):
        router = SimulatedRouter(with_keys(proxy), memory)
        made = router.send(lambda run, at_ms: ProviderResult(OVERLOADED), model="gpt-4o", request_id=f"req_{number}")
    assert len(made.begun) == 1, "its own budget is spent"
    made = SimulatedRouter(with_keys(direct), memory).send(
        lambda run, at_ms: ProviderResult(OVERLOADED), model="gpt-4o"
    )
    assert len(made.begun) == 3


def test_the_refusal_says_that_the_budget_is_spent() -> None:
    router = SimulatedRouter(with_endpoints(endpoints("a")))
    for number in range(10):
        router.memory.count(
            router.send(lambda run, at_ms: ProviderResult(), request_id=f"req_{number}")
            .begun[0]
            .run.model_copy(
                update={
                    "failed_attempts": [
                        FailedAttempt(attempt_id="x", provider="custom", endpoint="a", model="m", failure=OVERLOADED)
                    ]
                }
            ),
            0.0,
        )
    course = router.send(lambda run, at_ms: ProviderResult(OVERLOADED), request_id="req_last")
    assert len(course.begun) == 1
