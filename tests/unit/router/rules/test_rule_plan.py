"""Rules in a plan: they replace the model, and widen nothing that a request could not have named itself."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.features import PowerLevel
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Candidate, DropReason
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import RequestKind
from keyferry.runtime.tiers import load_tiers
from keyferry.tiers.file import BUNDLED_TIERS
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import leads_nowhere, plan
from services.router.power.ratings import NOTHING_LEARNED
from services.router.power.tables import PowerTables
from tests.support.router.keys_and_prices import catalog, key_facts, platform_key
from tests.support.router.power import quality
from tests.support.router.rule_sets import ACME, routing_context, rule, split, tenant_rules


def first(request: RouteRequest, context: RoutingContext) -> Candidate | None:
    planned = plan(request, context)
    return planned.candidates[planned.order[0]] if planned.order else None


def test_a_rule_replaces_the_model_and_the_plan_records_it() -> None:
    facts = routing_context(rule("code", [{"model": "claude-haiku-4-5"}, {"model": "gpt-4o"}], operation="code"))
    planned = plan(RouteRequest("acme", "gpt-4o", operation="code"), facts)
    assert [planned.candidates[index].provider for index in planned.order] == ["anthropic", "openai"]
    assert planned.rule is not None
    assert (planned.rule.rule, planned.rule.version) == ("code", 7)
    assert [model.detail for model in planned.models] == [
        "rule code of version 7: step 1",
        "rule code of version 7: step 2",
    ]
    other = plan(RouteRequest("acme", "gpt-4o", operation="chat"), facts)
    assert other.rule is None
    assert [other.candidates[index].provider for index in other.order] == ["openai"]


def test_a_provider_of_a_step_is_the_only_one() -> None:
    facts = routing_context(
        rule("pinned", [{"model": "gpt-4o", "provider": "openrouter"}], operation="x"),
        keys=[key_facts("openai"), key_facts("openrouter", "key_2")],
    )
    planned = plan(RouteRequest("acme", "gpt-4o", operation="x"), facts)
    assert {planned.candidates[index].provider for index in planned.order} == {"openrouter"}


def test_an_alias_matches_the_models_id_and_a_provider_does_not() -> None:
    alias, model = next((model.aliases[0], model) for model in catalog() if model.aliases)
    facts = routing_context(rule("r", "gpt-4o", model=model.id))
    assert plan(RouteRequest("acme", alias), facts).rule is not None
    assert plan(RouteRequest("acme", f"{model.offerings[0].provider}/{model.id}"), facts).rule is None


def test_a_power_level_matches_as_header_and_as_model() -> None:
    facts = routing_context(rule("r", "gpt-4o", power_level="eco"))
    assert plan(RouteRequest("acme", "gpt-4o", power_level=PowerLevel.ECO), facts).rule is not None
    assert plan(RouteRequest("acme", "eco"), facts).rule is not None
    assert plan(RouteRequest("acme", "eco", power_level=PowerLevel.PRECISION), facts).rule is None


def test_a_token_that_may_not_use_the_rules_model_is_refused() -> None:
    facts = routing_context(rule("r", "claude-haiku-4-5", operation="x"))
    planned = plan(RouteRequest("acme", "gpt-4o", operation="x", allowed_models=["gpt-4o"]), facts)
    assert planned.order == []
    assert planned.refusal is not None
    assert {candidate.reason for candidate in planned.candidates} >= {DropReason.MODEL_NOT_ALLOWED}


def test_after_a_downgrade_only_the_rules_of_the_platform_count() -> None:
    rules = tenant_rules(
        rule("own", "claude-haiku-4-5", operation="x"), platform=(rule("for-all", "gpt-4o-mini", operation="x"),)
    )
    for tier, applied in ((Tier.PROFESSIONAL, "own"), (Tier.STARTER, "for-all"), (Tier.FREE, "for-all")):
        tenant = ACME.model_copy(update={"tier": tier})
        facts = replace(routing_context(tenant=tenant), rules=rules, tiers=load_tiers(BUNDLED_TIERS))
        found = plan(RouteRequest("acme", "gpt-4o", operation="x"), facts).rule
        assert found is not None
        assert found.rule == applied, tier


def test_a_default_rule_does_not_make_an_unknown_name_a_model() -> None:
    assert leads_nowhere("nonsense", routing_context(rule("all", "gpt-4o", default=True)))


def test_a_conversation_stays_with_its_share_and_a_retry_with_its_request() -> None:
    facts = routing_context(rule("ab", [split(gpt_4o=1, claude_haiku_4_5=1)], operation="x"))
    requests = [RouteRequest("acme", "gpt-4o", operation="x", request_id=f"r{n}", conversation="c") for n in range(20)]
    assert len({candidate.provider for request in requests if (candidate := first(request, facts))}) == 1
    spread = [replace(request, conversation=None) for request in requests]
    assert len({candidate.provider for request in spread if (candidate := first(request, facts))}) == 2
    assert [first(request, facts) for request in spread] == [first(request, facts) for request in spread]


def test_embeddings_stay_with_the_first_model_of_a_chain() -> None:
    steps = [{"model": "text-embedding-3-small"}, {"model": "text-embedding-3-large"}]
    facts = routing_context(rule("r", steps, kind="embedding"))
    planned = plan(RouteRequest("acme", "text-embedding-3-large", kind=RequestKind.EMBEDDING), facts)
    assert {planned.candidates[index].model for index in planned.order} == {"text-embedding-3-small"}
    assert [(model.model, model.planned) for model in planned.models] == [
        ("text-embedding-3-small", True),
        ("text-embedding-3-large", False),
    ]


def test_a_chain_that_has_no_models_is_refused_with_its_rule() -> None:
    facts = routing_context(rule("r", [{"chain": "code"}], operation="x"))
    planned = plan(RouteRequest("acme", "gpt-4o", operation="x"), facts)
    assert planned.refusal is not None
    assert "the routing rule r leads to no model now" in planned.refusal.message


def test_a_level_in_a_chain_becomes_models() -> None:
    steps = [{"model": "gpt-4o"}, {"power_level": "eco"}]
    tables = PowerTables(quality())
    facts = replace(
        routing_context(rule("r", steps, operation="x")),
        power_table=lambda request, context: tables.of(request, context, NOTHING_LEARNED),
    )
    planned = plan(RouteRequest("acme", "claude-haiku-4-5", operation="x"), facts)
    assert planned.models[0].model == "gpt-4o"
    assert len(planned.models) > 2
    assert all(
        model.detail.startswith("rule r of version 7: step 2; ") for model in planned.models[1:] if model.planned
    )
    assert planned.power_level is PowerLevel.ECO


MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "claude-haiku-4-5",
    "openrouter/auto",
    "openai/unlisted",
    "nothing",
    "text-embedding-3-small",
)
STEPS = st.lists(st.sampled_from(MODELS), min_size=1, max_size=4, unique=True)
KEYS = st.lists(
    st.builds(
        lambda provider, own, models: (key_facts if own else platform_key)(
            provider, f"key_{provider}_{own}".lower(), allowed_models=models
        ),
        st.sampled_from(("openai", "anthropic", "openrouter")),
        st.booleans(),
        st.none() | st.lists(st.sampled_from(MODELS), max_size=2),
    ),
    max_size=5,
    unique_by=lambda key: key.key_id,
)
TENANTS = st.builds(
    lambda tier, policy, suspended: ACME.model_copy(
        update={"tier": tier, "key_policy": policy, "suspended": suspended}
    ),
    st.sampled_from(list(Tier)),
    st.none() | st.sampled_from(list(KeyPolicy)),
    st.booleans(),
)


@settings(max_examples=150)
@given(
    STEPS,
    st.sampled_from(MODELS),
    KEYS,
    TENANTS,
    st.none() | st.lists(st.sampled_from(MODELS), max_size=3),
    st.sampled_from((None, "first", "last", "only")),
    st.sampled_from(list(RequestKind)),
)
def test_no_rule_widens_a_constraint(
    steps: list[str],
    model: str,
    keys: list[KeyFacts],
    tenant: Tenant,
    allowed: list[str] | None,
    own: Any,
    kind: RequestKind,
) -> None:
    """Whatever a rule plans, a request that names that model itself may use too, with the same key."""
    chain = [{"split": [{"model": name, "weight": 1} for name in steps]}] if len(steps) > 1 else [{"model": steps[0]}]
    facts = routing_context(rule("r", chain, operation="x"), keys=keys, tenant=tenant)
    request = RouteRequest("acme", model, allowed, kind=kind, prefer_own_keys=own, operation="x", request_id="req_1")
    planned = plan(request, facts)
    assert planned == plan(request, facts)
    permitted = [
        (candidate.provider, candidate.model, candidate.key_id)
        for name in steps
        for named in [plan(replace(request, model=name), replace(facts, rules=None))]
        for candidate in (named.candidates[index] for index in named.order)
    ]
    for index in planned.order:
        candidate = planned.candidates[index]
        assert (candidate.provider, candidate.model, candidate.key_id) in permitted
    assert all(candidate.kept or candidate.reason for candidate in planned.candidates)
