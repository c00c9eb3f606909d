"""A key that has used most of its rate limit comes after others of equal rank, and only those."""

from datetime import UTC, datetime, timedelta

from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.tenancy import Tenant, Tier
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def planned(*keys: KeyFacts, paced: str, state: CircuitState = CircuitState.PACING, request_id: str = "r") -> Plan:
    index = KeyIndex()
    for key in keys:
        index.replace(key.tenant, keys)

    def health(target: Target) -> Health | None:
        if target.key_id != paced:
            return None
        until = NOW + timedelta(seconds=30)
        return Health(target=target, state=state, reason="85 % is used", until=until, changed_at=NOW)

    context = RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE),
        (),
        NOW,
        health=health,
        catalog=catalog(),
        own_keys=index.of("acme"),
        prices=list_price,
    )
    return plan(RouteRequest("acme", "gpt-4o", request_id=request_id), context)


def order(made: Plan) -> list[str | None]:
    return [made.candidates[index].key_id for index in made.order]


def test_other_keys_of_equal_rank_come_first_whatever_the_draw() -> None:
    keys = key_facts("openai", "key_1"), key_facts("openai", "key_2"), key_facts("openai", "key_3")
    for number in range(20):
        made = planned(*keys, paced="key_1", request_id=f"req_{number}")
        assert order(made)[-1] == "key_1"
    detail = next(c.detail for c in made.candidates if c.key_id == "key_1")
    assert detail.endswith("other keys of equal rank come first: 85 % is used")


def test_a_key_that_comes_first_by_priority_still_does() -> None:
    keys = key_facts("openai", "key_1", priority=1), key_facts("openai", "key_2")
    assert order(planned(*keys, paced="key_1")) == ["key_1", "key_2"]


def test_a_key_that_has_used_all_of_its_limit_is_skipped() -> None:
    keys = key_facts("openai", "key_1", priority=1), key_facts("openai", "key_2")
    assert order(planned(*keys, paced="key_1", state=CircuitState.COOLING)) == ["key_2"]


def test_a_paced_key_alone_is_used() -> None:
    assert order(planned(key_facts("openai", "key_1"), paced="key_1")) == ["key_1"]
