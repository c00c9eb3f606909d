"""What only one tenant's requests have proved of a shared target holds for that tenant's plans, and for no others."""

from dataclasses import replace
from datetime import timedelta

import pytest

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import DropReason
from services.router.planning.context import Plan, RouteRequest
from services.router.planning.plan import plan
from tests.support.router.fallback_contexts import with_keys
from tests.support.router.keys_and_prices import at_own_address, key_facts
from tests.support.router.simulated_requests import EPOCH

OPENAI, OPENROUTER = at_own_address(key_facts("openai", "key_1")), at_own_address(key_facts("openrouter", "key_2"))
OPEN, COOLING = CircuitState.OPEN, CircuitState.COOLING


def planned(
    tenant: str, seconds: float, *keys: KeyFacts, state: CircuitState = OPEN, may_probe: bool = False
) -> tuple[Plan, list[str]]:
    """Plan for acme, where OpenAI's target of `tenant` is unhealthy; return the plan and the providers in its order."""

    def health(target: Target) -> Health | None:
        if target.provider != "openai" or target.tenant != tenant or target.key_id is not None:
            return None
        until = EPOCH + timedelta(seconds=seconds)
        return Health(
            target=target, state=state, reason="r", failure_class=FailureClass.SERVER, until=until, changed_at=EPOCH
        )

    context = replace(with_keys(*keys or (OPENAI, OPENROUTER)), health=health, may_probe=lambda target: may_probe)
    made = plan(RouteRequest("acme", "gpt-4o", deadline_ms=30_000), context)
    return made, [made.candidates[index].provider for index in made.order]


def test_its_own_requests_go_elsewhere() -> None:
    made, order = planned("acme", 9)
    assert order == ["openrouter"]
    assert next(each.reason for each in made.candidates if each.provider == "openai") is DropReason.UNHEALTHY
    assert made.fallback_reason == "unhealthy"


def test_another_tenants_do_not() -> None:
    assert planned("mallory", 9)[1] == ["openai", "openrouter"]


def test_it_is_probed_when_its_time_is_over() -> None:
    assert planned("acme", -1)[1] == ["openrouter", "openai"]
    assert planned("acme", -1, may_probe=True)[1] == ["openai", "openrouter"]


@pytest.mark.parametrize(("state", "waits"), [(OPEN, False), (COOLING, True)])
def test_a_request_waits_for_its_pause_and_not_for_an_open_circuit(state: CircuitState, waits: bool) -> None:
    made, order = planned("acme", 4, OPENAI, state=state)
    assert bool(order) is waits
    if waits:
        assert made.candidates[made.order[0]].delay_ms >= 4000
