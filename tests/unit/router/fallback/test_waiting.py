"""How many requests may wait for one target."""

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.tenancy import KeyPolicy
from services.router.fallback import waiting
from services.router.fallback.memory import FallbackMemory
from services.router.fallback.waiting import MAX_WAITING, MAX_WAITING_OF_TENANT, WaitingRequests
from tests.support.router.fallback_contexts import with_keys
from tests.support.router.keys_and_prices import at_own_address, key_facts
from tests.support.router.simulated_requests import ProviderResult, SimulatedRouter

LIMITED = Failure(
    failure_class=FailureClass.RATE_LIMIT, message="slow", where=Where.HTTP_STATUS, status=429, retry_after_ms=5000
)


def fill(requests: WaitingRequests, tenant: str, target: str = "a") -> int:
    """Let requests wait until no more may; return how many do."""
    count = 0
    while requests.may_wait(tenant, target, 0.0):
        requests.add(tenant, target, 2000, 0.0)
        count += 1
    return count


def test_only_so_many_wait_for_a_target_until_they_have_waited() -> None:
    requests = WaitingRequests()
    assert sum(fill(requests, f"tenant-{number}") for number in range(9)) == MAX_WAITING
    assert not requests.may_wait("acme", "a", 1.9)
    assert requests.may_wait("acme", "b", 1.9)
    assert requests.may_wait("acme", "a", 2.0)


def test_one_tenant_leaves_places_for_the_others() -> None:
    requests = WaitingRequests()
    assert fill(requests, "mallory") == MAX_WAITING_OF_TENANT
    assert fill(requests, "acme") == MAX_WAITING_OF_TENANT


def test_the_pause_of_a_tenants_key_lets_no_other_tenants_requests_be_refused() -> None:
    """The keys of both are for the same model of the same provider."""
    memory = FallbackMemory()
    answers = {}
    for tenant, count in (("mallory", 200), ("acme", 1)):
        key = at_own_address(key_facts("openai", f"key_{tenant}", tenant="acme"))
        router = SimulatedRouter(with_keys(key, policy=KeyPolicy.OWN), memory)
        router.send(lambda run, at_ms: ProviderResult(LIMITED), model="gpt-4o", deadline_ms=4000)
        answers[tenant] = [
            router.send(
                lambda run, at_ms: ProviderResult(), model="gpt-4o", request_id=f"req_{number}", at_ms=100
            ).answered
            for number in range(count)
        ]
    assert sum(answers["mallory"]) == MAX_WAITING_OF_TENANT
    assert answers["acme"] == [True]


def test_targets_that_nobody_waits_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_MAX_TARGETS", 2)
    requests = WaitingRequests()
    requests.add("acme", "a", 1000, 0.0)
    requests.add("acme", "b", 3000, 0.0)
    assert not requests.may_wait("acme", "c", 0.5)
    assert requests.may_wait("acme", "c", 1.5)
