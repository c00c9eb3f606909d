"""A tier with fewer keys pauses those beyond its number, and an upgrade brings them back."""

from collections.abc import Sequence
from datetime import UTC, datetime

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.tiers.paused_keys import paused_keys
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price
from tests.support.router.limits import TIERS

KEYS = (key_facts("openai", "key_02"), key_facts("openai", "key_01"), key_facts("openai", "key_03", priority=1))


def planned(tier: Tier, model: str = "gpt-4o", keys: Sequence[KeyFacts] = KEYS) -> Plan:
    index = KeyIndex()
    index.rebuild(keys)
    context = RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=tier),
        (),
        datetime(2026, 11, 1, tzinfo=UTC),
        catalog=catalog(),
        own_keys=index.of("acme"),
        own_servers=index.servers_of("acme"),
        prices=list_price,
        tiers=TIERS,
    )
    return plan(RouteRequest("acme", model), context)


def used(made: Plan) -> set[str | None]:
    return {made.candidates[index].key_id for index in made.order}


def test_a_downgrade_uses_the_first_key_by_priority_and_says_what_brings_back_the_others() -> None:
    made = planned(Tier.STARTER)
    assert used(made) == {"key_03"}
    paused = {c.key_id: c for c in made.candidates if c.reason is DropReason.KEY_PAUSED}
    assert paused.keys() == {"key_01", "key_02"} == paused_keys(KEYS, 1)
    assert paused["key_01"].detail == (
        "the own key 'openai key_01' for OpenAI is paused, since the tier starter includes 1 of a tenant's own keys per"
        " provider: upgrade to professional (`keyferry tenants update acme --tier professional`)"
    )


def test_an_upgrade_uses_all_of_them_again() -> None:
    assert used(planned(Tier.PROFESSIONAL)) == {"key_01", "key_02", "key_03"}


def test_a_tier_without_own_keys_refuses_and_names_the_lowest_tier_that_has_them() -> None:
    refusal = planned(Tier.FREE).refusal
    assert refusal is not None
    assert "is paused" in refusal.message
    assert "upgrade to starter" in refusal.message


def test_a_server_whose_key_is_paused_is_not_taken_for_an_unknown_model() -> None:
    server = key_facts("custom", "key_01", name="lab", models=["m"])
    assert used(planned(Tier.STARTER, "lab/m", [server])) == {"key_01"}
    refusal = planned(Tier.FREE, "lab/m", [server]).refusal
    assert refusal is not None
    assert refusal.failure_class is FailureClass.POLICY
    assert refusal.message.endswith("upgrade to starter (`keyferry tenants update acme --tier starter`).")
