"""What saved preferences change in a plan, and what they never change."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.catalog import Capability
from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import VIRTUAL_MODELS
from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.preferences import SavedPreferences
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.residency import EUROPE_OUTSIDE_EU, region_of
from keyferry.contracts.route import DropReason, Endpoint, ListModels
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import RequestKind
from services.router.planning.available_models import available_models
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.key_candidates import key_candidates, payable_places, payers
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import at_own_address, catalog, key_facts, list_price, platform_key
from tests.support.router.saved_preferences import in_force, saved

NOW = datetime(2026, 11, 1, tzinfo=UTC)
_D = DropReason
Fact = KeyFacts | SavedPreferences | Endpoint


def endpoint(name: str = "lab", /, **changes: Any) -> Endpoint:
    facts = {"tenant": "acme", "name": name, "base_url": "http://localhost:1/v1", "models": ["llama"]}
    return Endpoint(**(facts | changes))


def planned(
    model: str,
    *facts: Fact,
    policy: KeyPolicy | None = None,
    tier: Tier = Tier.ENTERPRISE,
    **request: Any,
) -> Plan:
    return plan(RouteRequest("acme", model, **request), context_of(*facts, policy=policy, tier=tier))


def settled(key: KeyFacts) -> KeyFacts:
    """Return the key at its provider's own address, unless a test chose one."""
    chosen = key.provider in NAMED_BY_TENANT or key.base_url != f"https://{key.provider}.example/v1"
    return key if chosen else at_own_address(key)


def context_of(*facts: Fact, policy: KeyPolicy | None = None, tier: Tier = Tier.ENTERPRISE) -> RoutingContext:
    index = KeyIndex()
    index.rebuild(settled(each) for each in facts if isinstance(each, KeyFacts))
    return RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=tier, key_policy=policy),
        [each for each in facts if isinstance(each, Endpoint)],
        NOW,
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        own_servers=index.servers_of("acme"),
        prices=list_price,
        preferences=in_force(*(each for each in facts if isinstance(each, SavedPreferences))),
    )


def served_by(made: Plan) -> list[str]:
    """Who would serve the request, best first: the endpoint, or the key's id."""
    return [made.candidates[index].key_id or str(made.candidates[index].endpoint) for index in made.order]


def models(made: Plan) -> list[str]:
    return [model.model for model in made.models if model.planned]


def reasons(made: Plan) -> dict[str, DropReason | None]:
    return {each.key_id or each.endpoint or each.provider: each.reason for each in made.candidates}


def refused(made: Plan) -> Failure:
    assert made.refusal is not None
    return made.refusal


OPENAI, ANTHROPIC = platform_key("openai", "key_openai"), platform_key("anthropic", "key_anthropic")
OPENROUTER = platform_key("openrouter", "key_openrouter")
OWN = key_facts("openai", "key_own")


# --- the model that `default` stands for


def test_default_is_the_operations_model_then_the_default_model_then_a_preferred_one_then_the_catalogs() -> None:
    of_operation = saved("team", model_by_operation={"research": "claude-haiku-4-5"})
    default = saved(default_model="gpt-4o")
    keys = (OPENAI, ANTHROPIC)
    research = planned("default", *keys, of_operation, default, operation="research", team="support")
    assert models(research) == ["claude-haiku-4-5"]
    assert models(planned("default", *keys, of_operation, default, operation="research")) == ["gpt-4o"]
    assert models(planned("default", *keys, of_operation, default, operation="chat", team="support")) == ["gpt-4o"]
    assert models(planned("default", *keys, saved(preferred_models=["retired", "gpt-4.1"]))) == ["gpt-4.1"]
    assert models(planned("default", *keys)) == ["claude-sonnet-4-5"]
    assert served_by(research) == ["key_anthropic"]
    assert [(each.name, each.value, each.origin, each.origin_id) for each in research.applied] == [
        ("model_by_operation.research", "claude-haiku-4-5", "team", "support")
    ]


def test_default_for_embeddings_is_an_embedding_model() -> None:
    chats = saved(default_model="gpt-4o")
    made = planned("default", OPENAI, chats, kind=RequestKind.EMBEDDING)
    assert models(made) == ["text-embedding-3-small"]
    passed_over = next(model for model in made.models if not model.planned)
    assert "it does not serve embeddings" in passed_over.detail
    operation = saved(model_by_operation={"embedding": "mistral-embed"})
    key = platform_key("mistral", "key_mistral")
    made = planned("default", key, chats, operation, kind=RequestKind.EMBEDDING, operation="embedding")
    assert models(made) == ["mistral-embed"]


def test_default_without_preferences_is_a_model_that_has_a_key_or_an_endpoint() -> None:
    only_anthropic = planned("default", ANTHROPIC)
    assert served_by(only_anthropic) == ["key_anthropic"]
    only_endpoint = planned("default", endpoint())
    assert served_by(only_endpoint) == ["lab"]
    nothing = refused(planned("default"))
    assert nothing.failure_class is FailureClass.POLICY
    assert "claude-sonnet-4-5" in nothing.message


@pytest.mark.parametrize(
    ("facts", "request_", "expected"),
    [
        # The catalog's default has a key, which may not pay: by the key policy, by the mode, by the tier, by its region.
        ((ANTHROPIC, key_facts("mistral", "key_own")), {"policy": KeyPolicy.OWN}, ["key_own"]),
        ((ANTHROPIC, key_facts("mistral", "key_own"), saved(mode="byok")), {}, ["key_own"]),
        ((key_facts("anthropic", "key_own"), OPENAI, saved(mode="platform")), {}, ["key_openai"]),
        ((ANTHROPIC, platform_key("groq", "key_groq")), {"tier": Tier.FREE}, ["key_groq"]),
        (
            (
                platform_key("bedrock", "key_virginia", fields={"region": "us-east-1"}),
                platform_key("mistral", "key_mistral"),
                saved(eu_only=True),
            ),
            {},
            ["key_mistral"],
        ),
        ((ANTHROPIC, key_facts("vllm", "key_gpu", name="gpu", models=["m"]), saved(mode="custom")), {}, ["key_gpu"]),
        ((key_facts("ollama", "key_laptop", models=["m"]),), {}, ["key_laptop"]),
    ],
)
def test_default_without_a_default_model_is_one_that_a_key_may_pay_for(
    facts: tuple[Fact, ...], request_: dict[str, Any], expected: list[str]
) -> None:
    made = planned("default", *facts, **request_)
    assert served_by(made)[: len(expected)] == expected, made.refusal


@pytest.mark.parametrize("policy", [None, *KeyPolicy])
@pytest.mark.parametrize("mode", [None, "platform", "byok", "custom"])
def test_what_keys_may_pay_for_is_what_a_plan_keeps(policy: KeyPolicy | None, mode: str | None) -> None:
    keys = [
        OPENAI,
        ANTHROPIC,
        OPENROUTER,
        key_facts("anthropic", "key_off", status=KeyStatus.DISABLED),
        key_facts("openai", "key_few", allowed_models=["gpt-4o"], models=["ft:new"]),
        key_facts("bedrock", "key_virginia", fields={"region": "us-east-1"}),
        key_facts("vllm", "key_gpu", name="gpu", models=["m"]),
        key_facts("ollama", "key_laptop", models=["m"]),
    ]
    context = context_of(*keys, saved(mode=mode), policy=policy, tier=Tier.STARTER)
    for name in (*(model.id for model in context.catalog), "gpu/m", "ollama/m", "vllm/m", "openai/ft:new"):
        request, resolved = RouteRequest("acme", name), context.resolve(name)
        paying = payers(request, context, resolved, has_own_endpoint=False)
        embeds = resolved.model is not None and Capability.EMBEDDINGS in resolved.model.capabilities
        asked = replace(request, kind=RequestKind.EMBEDDING if embeds else RequestKind.CHAT)
        found = key_candidates(asked, context, resolved, None, paying)
        kept = {(each.candidate.model, each.candidate.key_id) for each in found if each.candidate.kept}
        assert {
            (place.upstream, key.key_id) for place, key in payable_places(asked, context, resolved, paying)
        } == kept, name


def test_default_is_a_model_that_the_client_token_may_use() -> None:
    made = planned("default", OPENAI, ANTHROPIC, saved(default_model="gpt-4o"), allowed_models=["claude-haiku-4-5"])
    assert models(made) == ["claude-haiku-4-5"]
    assert served_by(made) == ["key_anthropic"]
    assert "the client token may not use it" in made.models[-1].detail


def test_default_in_the_eu_is_a_model_that_is_there() -> None:
    mistral = platform_key("mistral", "key_mistral")
    made = planned("default", OPENAI, mistral, saved("platform", default_model="gpt-4o"), saved(eu_only=True))
    assert served_by(made) == ["key_mistral"]
    assert any("nothing that has it processes requests where they may be" in model.detail for model in made.models)


def test_a_named_model_is_not_replaced_by_the_default() -> None:
    assert models(planned("gpt-4o", OPENAI, saved(default_model="gpt-4.1"))) == ["gpt-4o"]


# --- fallback models


def test_fallback_models_follow_the_one_that_was_asked_for() -> None:
    made = planned("gpt-4o", OPENAI, ANTHROPIC, saved(fallback_models=["gpt-4o", "claude-haiku-4-5"]))
    assert models(made) == ["gpt-4o", "claude-haiku-4-5"]
    assert served_by(made) == ["key_openai", "key_anthropic"]
    assert made.candidates[made.order[1]].chosen_model == "claude-haiku-4-5"
    assert models(planned("gpt-4o", OPENAI, ANTHROPIC)) == ["gpt-4o"]


def test_a_narrower_scope_can_switch_fallback_models_off() -> None:
    tenant, token = saved(fallback_models=["claude-haiku-4-5"]), saved("client_token", fallback_models=[])
    made = planned("gpt-4o", OPENAI, ANTHROPIC, tenant, token, client_token_id="tok_1")
    assert models(made) == ["gpt-4o"]


def test_a_fallback_model_is_no_way_around_the_limits_of_a_client_token_or_of_residency() -> None:
    fallback = saved(fallback_models=["claude-haiku-4-5"])
    made = planned("gpt-4o", OPENAI, ANTHROPIC, fallback, allowed_models=["gpt-4o"])
    assert models(made) == ["gpt-4o"]
    embedding = planned("text-embedding-3-small", OPENAI, fallback, kind=RequestKind.EMBEDDING)
    assert models(embedding) == ["text-embedding-3-small"]
    in_the_eu = planned(
        "mistral-small", ANTHROPIC, platform_key("mistral", "key_mistral"), fallback, saved(eu_only=True)
    )
    assert served_by(in_the_eu) == ["key_mistral"]


# --- routing modes


@pytest.mark.parametrize(
    ("mode", "policy", "expected"),
    [
        (None, None, ["lab", "key_own"]),
        ("platform", None, ["key_openai"]),
        ("platform", KeyPolicy.OWN, []),
        ("byok", None, ["key_own"]),
        ("byok", KeyPolicy.OWN_THEN_PLATFORM, ["key_own", "key_openai"]),
        ("byok", KeyPolicy.PLATFORM, []),
        ("custom", KeyPolicy.OWN_THEN_PLATFORM, ["lab"]),
    ],
)
def test_the_routing_mode_excludes_other_payers(
    mode: str | None, policy: KeyPolicy | None, expected: list[str]
) -> None:
    facts: list[Fact] = [OWN, OPENAI, endpoint(models=["gpt-4o"]), *([saved(mode=mode)] if mode else [])]
    made = planned("gpt-4o", *facts, policy=policy)
    assert served_by(made) == expected
    if not expected:
        assert refused(made).failure_class is FailureClass.POLICY
        assert "the routing mode is" in refused(made).message


def test_a_mode_of_the_installation_is_no_tenants_consent_to_pay_the_platform() -> None:
    made = planned("gpt-4o", OWN, OPENAI, saved("platform", mode="platform"))
    assert served_by(made) == []
    assert reasons(made)["key_openai"] is _D.KEY_POLICY
    assert served_by(planned("gpt-4o", OPENAI, saved("platform", mode="platform"))) == ["key_openai"]


def test_the_mode_of_an_operation_comes_before_the_general_one() -> None:
    both = saved(mode="byok", mode_by_operation={"research": "platform"})
    assert served_by(planned("gpt-4o", OWN, OPENAI, both)) == ["key_own"]
    assert served_by(planned("gpt-4o", OWN, OPENAI, both, operation="research")) == ["key_openai"]
    assert served_by(planned("gpt-4o", OWN, OPENAI, both, operation="other")) == ["key_own"]


def test_own_servers_with_a_key_serve_in_the_custom_mode() -> None:
    server = key_facts("vllm", "key_server", name="lab", models=["llama"])
    assert served_by(planned("lab/llama", server, OPENAI, saved(mode="custom"))) == ["key_server"]
    made = planned("gpt-4o", OWN, server, saved(mode="custom"))
    assert reasons(made)["key_own"] is _D.ROUTING_MODE
    assert "the routing mode is custom (a preference of the tenant acme)" in refused(made).message


def test_a_request_cannot_widen_the_mode() -> None:
    made = planned("gpt-4o", OWN, OPENAI, saved(mode="platform"), prefer_own_keys="only")
    assert served_by(made) == []


# --- the order of providers


def test_the_default_provider_comes_first_and_then_the_fallback_provider() -> None:
    keys = (OPENAI, OPENROUTER)
    assert served_by(planned("gpt-4o", *keys)) == ["key_openai", "key_openrouter"]
    assert served_by(planned("gpt-4o", *keys, saved(default_provider="openrouter"))) == [
        "key_openrouter",
        "key_openai",
    ]
    assert served_by(planned("gpt-4o", *keys, saved(fallback_provider="openrouter"))) == [
        "key_openrouter",
        "key_openai",
    ], "it comes before those that are not named"
    both = saved(default_provider="openai", fallback_provider="openrouter")
    assert served_by(planned("gpt-4o", *keys, both)) == ["key_openai", "key_openrouter"]


def test_own_keys_come_before_the_default_provider_of_the_platform() -> None:
    made = planned("gpt-4o", OWN, OPENROUTER, saved(default_provider="openrouter"), policy=KeyPolicy.OWN_THEN_PLATFORM)
    assert served_by(made) == ["key_own", "key_openrouter"]


def test_cost_optimisation_tries_the_cheapest_provider_first() -> None:
    name = "llama-3.3-70b"
    keys = [platform_key(provider, f"key_{provider}") for provider in ("groq", "together", "fireworks", "openrouter")]
    made = planned(name, *keys, saved(cost_optimization=True))
    costs = [list_price(made.candidates[index].provider, made.candidates[index].model) for index in made.order]
    known = [cost.input_usd + (cost.output_usd or 0) for cost in costs if cost is not None]
    assert len(known) > 1
    assert known == sorted(known)
    assert known != sorted(known, reverse=True)


def test_own_endpoints_are_ordered_by_preference_too() -> None:
    made = planned("llama", endpoint("one"), endpoint("two"), saved(default_provider="two"))
    assert served_by(made) == ["two", "one"]


def test_a_request_stays_at_its_first_provider_where_switching_is_off() -> None:
    stay = saved(auto_provider_switch=False, fallback_models=["gpt-4.1", "claude-haiku-4-5"])
    second = platform_key("openai", "key_second")
    made = planned("gpt-4o", OPENAI, second, OPENROUTER, ANTHROPIC, stay)
    assert {made.candidates[index].provider for index in made.order} == {"openai"}
    assert {made.candidates[index].chosen_model for index in made.order} == {None, "gpt-4.1"}
    assert reasons(made)["key_openrouter"] is _D.PROVIDER_SWITCH_OFF
    failed = FailedAttempt(
        attempt_id="att_1",
        provider="openai",
        model="gpt-4o",
        key_id="key_openai",
        failure=Failure(failure_class=FailureClass.SERVER, message="no"),
    )
    switch_off = saved(auto_provider_switch=False)
    after = planned("gpt-4o", OPENAI, OPENROUTER, switch_off, failed_attempts=[failed])
    assert served_by(after) == []
    assert refused(after).failure_class is FailureClass.SERVER


# --- residency


def test_an_eu_only_tenant_is_served_inside_the_eu_only() -> None:
    keys = (
        platform_key("bedrock", "key_frankfurt", fields={"region": "eu-central-1"}),
        platform_key("bedrock", "key_virginia", fields={"region": "us-east-1"}),
        platform_key("bedrock", "key_london", fields={"region": "eu-west-2"}),
        ANTHROPIC,
        OPENROUTER,
    )
    made = planned("claude-haiku-4-5", *keys, saved(eu_only=True))
    assert served_by(made) == ["key_frankfurt"]
    assert reasons(made) == {
        "echo": _D.NOT_NAMED,
        "key_frankfurt": None,
        "key_virginia": _D.OUTSIDE_EU,
        "key_london": _D.OUTSIDE_EU,
        "key_anthropic": _D.OUTSIDE_EU,
        "key_openrouter": _D.OUTSIDE_EU,
    }
    assert made.residencies[made.order[0]].region == "eu-central-1"


def test_without_a_candidate_in_the_eu_the_request_is_refused_with_the_reason_of_each() -> None:
    failure = refused(planned("gpt-4o", OPENAI, OPENROUTER, saved(eu_only=True)))
    assert failure.failure_class is FailureClass.POLICY
    assert "gpt-4o of OpenAI is not known to process requests inside the European Union" in failure.message
    assert "OpenRouter is not known to process" in failure.message
    assert "(a preference of the tenant acme)" in failure.message


def test_an_own_endpoint_serves_an_eu_only_tenant_only_with_the_mark() -> None:
    only = saved(eu_only=True)
    assert served_by(planned("llama", endpoint(eu=True), only)) == ["lab"]
    failure = refused(planned("llama", endpoint(), only))
    assert "`keyferry endpoints add lab --eu --tenant acme`" in failure.message
    server = key_facts("vllm", "key_server", name="lab", models=["llama"])
    message = refused(planned("lab/llama", server, only)).message
    assert "`keyferry keys add --provider vllm --field processed_in=eu --tenant acme`" in message


def test_an_own_server_serves_an_eu_only_tenant_if_its_owner_states_that_it_is_there() -> None:
    server = key_facts("vllm", "key_server", name="lab", models=["llama"], fields={"processed_in": "eu"})
    elsewhere = key_facts("vllm", "key_far", name="far", models=["llama"])
    for limit in ({"eu_only": True}, {"allowed_regions": ["eu"]}):
        made = planned("lab/llama", server, elsewhere, saved(**limit))
        assert served_by(made) == ["key_server"]
        assert made.residencies[made.order[0]].eu
        assert served_by(planned("far/llama", server, elsewhere, saved(**limit))) == []
        default = planned("default", elsewhere, server, saved(default_model="far/llama", **limit))
        assert served_by(default) == ["key_server"], "the default model is not there, and the stated server has one"
    assert served_by(planned("lab/llama", server, saved(allowed_regions=["us"]))) == []
    listed = available_models(context_of(server, elsewhere), ListModels(tenant="acme", eu=True))
    assert [model.id for model in listed if not model.virtual] == ["lab/llama"]


def test_a_statement_about_a_providers_own_address_counts_for_nothing() -> None:
    stated = platform_key("openai", "key_openai", fields={"processed_in": "eu"})
    assert served_by(planned("gpt-4o", stated, saved(eu_only=True))) == []


def test_what_a_provider_says_of_its_regions_does_not_hold_for_another_address() -> None:
    proxy = {"origin": "https://proxy.example", "base_url": "https://proxy.example/v1"}
    mistral = platform_key("mistral", "key_mistral", **proxy)
    elsewhere = "https://bedrock-runtime.us-east-1.amazonaws.com"
    fields = {"region": "eu-central-1"}
    bedrock = platform_key("bedrock", "key_bedrock", fields=fields, origin=elsewhere, base_url=elsewhere)
    for preferences in ({"eu_only": True}, {"allowed_regions": ["eu", "eu-central-1"]}):
        assert served_by(planned("mistral-small", mistral, saved(**preferences))) == []
        assert served_by(planned("claude-haiku-4-5", bedrock, saved(**preferences))) == []
        assert served_by(planned("mistral-small", platform_key("mistral", "key_m"), saved(**preferences))) == ["key_m"]
    message = refused(planned("mistral-small", mistral, saved(eu_only=True))).message
    assert "the key is for an address that somebody chose" in message


def test_allowed_regions_are_beginnings_and_eu_is_the_union() -> None:
    frankfurt = platform_key("bedrock", "key_frankfurt", fields={"region": "eu-central-1"})
    virginia = platform_key("bedrock", "key_virginia", fields={"region": "us-east-1"})
    mistral = platform_key("mistral", "key_mistral")
    for regions, expected in (
        (["us"], ["key_virginia"]),
        (["us-east-1", "eu-central"], ["key_frankfurt", "key_virginia"]),
        (["eu"], ["key_frankfurt"]),
        (["us-east-10"], []),
    ):
        made = planned("claude-haiku-4-5", frankfurt, virginia, saved(allowed_regions=regions))
        assert sorted(served_by(made)) == expected, regions
    assert served_by(planned("mistral-small", mistral, saved(allowed_regions=["eu"]))) == ["key_mistral"]
    failure = refused(planned("mistral-small", mistral, saved(allowed_regions=["us"])))
    assert "the allowed regions are us (a preference of the tenant acme)" in failure.message


def test_a_team_cannot_allow_what_its_tenant_does_not() -> None:
    tenant, team = saved(eu_only=True, allowed_regions=["eu"]), saved("team", eu_only=False, allowed_regions=["us"])
    keys = (
        platform_key("bedrock", "key_frankfurt", fields={"region": "eu-central-1"}),
        platform_key("bedrock", "key_virginia", fields={"region": "us-east-1"}),
    )
    assert served_by(planned("claude-haiku-4-5", *keys, tenant, team, team="support")) == []
    assert served_by(planned("claude-haiku-4-5", *keys, tenant)) == ["key_frankfurt"]


# --- the list of models


@pytest.mark.parametrize(
    "preferences",
    [{}, {"eu_only": True}, {"allowed_regions": ["us"]}, {"mode": "byok"}, {"mode": "custom"}, {"mode": "platform"}],
)
def test_exactly_the_models_that_may_be_served_are_listed(preferences: dict[str, Any]) -> None:
    facts: list[Fact] = [
        OPENAI,
        key_facts("anthropic", "key_own"),
        platform_key("bedrock", "key_frankfurt", fields={"region": "eu-central-1"}),
        endpoint(),
        endpoint("union", models=["house"], eu=True),
        key_facts("vllm", "key_gpu", name="gpu", models=["m"], fields={"processed_in": "eu"}),
        key_facts("vllm", "key_far", name="far", models=["m"]),
        saved("team", **preferences),
    ]
    context = context_of(*facts).with_preferences_of(RouteRequest("acme", "", team="support"))
    listed = {
        model.id for model in available_models(context, ListModels(tenant="acme")) if model.id not in VIRTUAL_MODELS
    }
    candidates = {
        *listed,
        *(model.id for model in catalog()),
        "llama",
        "house",
        "lab/llama",
        "union/house",
        "gpu/m",
        "far/m",
    }
    served = {
        name
        for name in candidates
        if any(planned(name, *facts, team="support", kind=kind).order for kind in RequestKind)
    }
    assert listed == served


def test_default_is_listed_where_a_default_model_is_saved_and_can_be_called() -> None:
    def virtual(*facts: Fact) -> dict[str, str | None]:
        found = available_models(context_of(*facts), ListModels(tenant="acme"))
        return {model.id: model.description for model in found if model.virtual}

    assert "default" not in virtual(OPENAI)
    assert (
        virtual(OPENAI, saved(default_model="gpt-4o"))["default"] == "The default model of the preferences, now gpt-4o."
    )
    assert "default" not in virtual(saved(default_model="gpt-4o"))


# --- any preferences

MODELS = ("default", "gpt-4o", "claude-haiku-4-5", "mistral-small", "llama", "text-embedding-3-small", "nothing")
REGIONS = ("eu-central-1", "eu-west-2", "us-east-1", "europe-west4", "europe-west2")


def fields_of(provider: str, region: str) -> dict[str, str]:
    """Return the fields that a key of the provider has in a region."""
    if provider == "bedrock":
        return {"region": region.replace("europe", "eu").replace("west4", "west-1").replace("west2", "west-2")}
    return {"project": "p-1", "location": region} if provider == "vertex" else {}


KEYS = st.lists(
    st.builds(
        lambda provider, number, tenant, region: key_facts(
            provider, f"key_{number}", tenant=tenant, fields=fields_of(provider, region)
        ),
        st.sampled_from(("openai", "anthropic", "bedrock", "vertex", "mistral", "openrouter", "vllm")),
        st.integers(0, 50),
        st.sampled_from(("acme", "platform")),
        st.sampled_from(REGIONS),
    ),
    max_size=8,
    unique_by=lambda key: key.key_id,
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "eu_only": st.booleans(),
        "allowed_regions": st.lists(st.sampled_from(("eu", "us", "eu-central-1")), min_size=1, max_size=2),
        "mode": st.sampled_from(("platform", "byok", "custom")),
        "mode_by_operation": st.dictionaries(st.just("research"), st.sampled_from(("platform", "byok", "custom"))),
        "default_model": st.sampled_from(MODELS[1:]),
        "model_by_operation": st.dictionaries(st.just("research"), st.sampled_from(MODELS[1:])),
        "fallback_models": st.lists(st.sampled_from(MODELS[1:]), max_size=3),
        "default_provider": st.sampled_from(("openai", "bedrock", "lab")),
        "cost_optimization": st.booleans(),
        "auto_provider_switch": st.booleans(),
    },
)
SCOPES = ("platform", "tenant", "team", "client_token")


@settings(max_examples=300)
@given(
    values=st.lists(VALUES, min_size=len(SCOPES), max_size=len(SCOPES)),
    keys=KEYS,
    endpoints=st.lists(st.booleans(), max_size=2),
    model=st.sampled_from(MODELS),
    operation=st.sampled_from((None, "research")),
    kind=st.sampled_from(list(RequestKind)),
    policy=st.none() | st.sampled_from(list(KeyPolicy)),
    allowed=st.none() | st.lists(st.sampled_from(MODELS[1:]), max_size=3),
)
def test_no_preference_breaks_a_hard_constraint(
    values: list[dict[str, Any]],
    keys: list[KeyFacts],
    endpoints: list[bool],
    model: str,
    operation: str | None,
    kind: RequestKind,
    policy: KeyPolicy | None,
    allowed: list[str] | None,
) -> None:
    scopes = [saved(scope, **each) for scope, each in zip(SCOPES, values, strict=True)]
    own = [endpoint(f"lab{number}", eu=eu) for number, eu in enumerate(endpoints)]
    facts: list[Fact] = [*scopes, *keys, *own]
    request: dict[str, Any] = {
        "operation": operation,
        "kind": kind,
        "allowed_models": allowed,
        "team": "support",
        "client_token_id": "tok_1",
    }
    made = planned(model, *facts, policy=policy, **request)
    assert made == planned(model, *facts, policy=policy, **request), "the same inputs make the same plan"
    assert (made.refusal is None) == bool(made.order)
    assert all(candidate.kept == (candidate.reason is None) for candidate in made.candidates)
    assert all(candidate.detail for candidate in made.candidates)
    eu_only = any(each.get("eu_only") for each in values)
    for index in made.order:
        candidate, key = made.candidates[index], made.keys.get(index)
        if eu_only:
            assert_in_eu(made, index)
        if allowed is not None:
            assert (candidate.chosen_model or model) in allowed
        if policy is KeyPolicy.OWN:
            assert key is None or key.tenant == "acme"
        if policy is KeyPolicy.PLATFORM:
            assert key is None or key.tenant == "platform"


def assert_in_eu(made: Plan, index: int) -> None:
    candidate, key, own = made.candidates[index], made.keys.get(index), made.endpoints.get(index)
    if own is not None:
        assert own.eu
        return
    assert key is not None
    resolved = catalog().resolve(f"{candidate.provider}/{candidate.model}")
    offerings = [each for each in resolved.offerings if each.upstream == candidate.model]
    assert any(each.eu for each in offerings)
    assert region_of(key.fields) not in EUROPE_OUTSIDE_EU
    assert key.base_url == settled(key).base_url
