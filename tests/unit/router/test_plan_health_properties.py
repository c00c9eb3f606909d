"""For any health of targets and keys: nothing withheld is planned, every drop has a reason, and one probe at most is used up."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.health import LONGEST_COOLING, CircuitState, Health, KeyClass, Target
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import DropReason, Endpoint
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.health_filter import target_of
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
KEYS = (
    key_facts("openai", "key_a"),
    key_facts("openai", "key_b", priority=200),
    key_facts("openrouter", "key_c"),
    platform_key("openai", "key_p"),
)
ENDPOINTS = tuple(
    Endpoint(tenant="acme", name=name, base_url=f"https://{name}.example/v1", models=["gpt-4o"]) for name in "xy"
)
LONGEST_SECONDS = int(LONGEST_COOLING.total_seconds())


def targets() -> list[Target]:
    """Return every target that the plan can have, and every key's use of one."""
    found = []
    for endpoint in ENDPOINTS:
        origin = f"https://{endpoint.name}.example"
        found.append(Target(provider="custom", model="gpt-4o", origin=origin, tenant="acme", endpoint=endpoint.name))
    for key in KEYS:
        target = _of_key(key)
        found += [target, target.of_key(key.key_id, "acme")]
    return found


def _of_key(key: KeyFacts) -> Target:
    model = "openai/gpt-4o" if key.provider == "openrouter" else "gpt-4o"
    if key.tenant == "platform":
        return Target(provider=key.provider, model=model, origin=key.origin, key_class=KeyClass.PLATFORM)
    return Target(provider=key.provider, model=model, origin=key.origin, tenant="acme")


states = st.sampled_from([None, CircuitState.OPEN, CircuitState.COOLING, CircuitState.CLOSED])
entries = st.fixed_dictionaries(
    {target.key: st.tuples(states, st.integers(-60, 2 * LONGEST_SECONDS)) for target in targets()}
)


def healths(drawn: dict[str, tuple[CircuitState | None, int]]) -> dict[str, Health]:
    return {
        target.key: Health(
            target=target, state=state, reason="it fails", until=NOW + timedelta(seconds=seconds), changed_at=NOW
        )
        for target in targets()
        if (state := drawn[target.key][0]) is not None and (seconds := drawn[target.key][1]) is not None
    }


def planned(data: dict[str, Health], probed: list[str]) -> Plan:
    index = KeyIndex()
    index.rebuild(KEYS)

    def may_probe(target: Target) -> bool:
        probed.append(target.key)
        return True

    context = RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE, key_policy=KeyPolicy.OWN_THEN_PLATFORM),
        ENDPOINTS,
        NOW,
        health=lambda target: data.get(target.key),
        may_probe=may_probe,
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        prices=list_price,
        paused_keys=frozenset(key.key_id for key in KEYS),
    )
    return plan(RouteRequest("acme", "gpt-4o"), context)


def is_withheld(health: Health | None) -> bool:
    if health is None or health.state is CircuitState.CLOSED or health.until is None:
        return False
    return NOW < health.until <= NOW + LONGEST_COOLING


@given(entries)
def test_nothing_withheld_is_planned_and_every_drop_has_a_reason(
    drawn: dict[str, tuple[CircuitState | None, int]],
) -> None:
    data, probed = healths(drawn), list[str]()
    made = planned(data, probed)
    for index, candidate in enumerate(made.candidates):
        if index in made.keys:
            origin = made.keys[index].origin
        elif index in made.endpoints:
            origin = f"https://{made.endpoints[index].name}.example"
        else:
            continue
        target = target_of(candidate, "acme", origin)
        withheld = is_withheld(data.get(target.key))
        if candidate.key_id is not None:
            withheld = withheld or is_withheld(data.get(target.of_key(candidate.key_id, "acme").key))
        if candidate.reason in (None, DropReason.UNHEALTHY, DropReason.KEY_COOLING):
            assert candidate.kept is not withheld
            assert (index in made.order) is not withheld
        assert candidate.detail
        assert candidate.kept is (candidate.reason is None)
    assert len(probed) <= 1
    assert (made.refusal is None) is bool(made.order)
    if made.refusal is not None:
        assert made.refusal.retry_after_ms is not None
    again = planned(data, [])
    assert (again.order, again.candidates) == (made.order, made.candidates), "the same facts give the same plan"
