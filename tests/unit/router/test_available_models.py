"""The list of available models: exactly what a request would find, with the catalog's data."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.health import LatencySummary, Target
from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.route import Endpoint, ListModels, Model
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.planning.available_models import available_models
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import at_own_address, catalog, key_facts, list_price, platform_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def context(
    *keys: KeyFacts, policy: KeyPolicy | None = None, tier: Tier = Tier.STARTER, allow_unapproved: bool = False
) -> RoutingContext:
    index = KeyIndex()
    index.rebuild(keys)
    return RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=tier, key_policy=policy, allow_unapproved=allow_unapproved),
        [Endpoint(tenant="acme", name="lab", base_url="https://lab.example/v1", models=["house-model"])],
        NOW,
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        prices=list_price,
    )


def listed(data: RoutingContext, **query: Any) -> dict[str, Model]:
    return {model.id: model for model in available_models(data, ListModels(tenant="acme", **query))}


def test_without_keys_only_the_echo_and_the_own_endpoint_are_listed() -> None:
    assert list(listed(context())) == ["echo", "house-model", "lab/house-model"]


def test_a_key_adds_its_providers_models_with_their_catalog_data() -> None:
    found = listed(context(key_facts("anthropic")))
    haiku = found["claude-haiku-4-5"]
    assert (haiku.provider, haiku.key_source, haiku.providers) == ("anthropic", KeySource.BYOK, ["anthropic"])
    assert (haiku.maker, haiku.context_tokens, haiku.model_class) == ("Anthropic", 200_000, ModelClass.BUDGET)
    assert "gpt-4o" not in found


def test_exactly_the_listed_models_can_be_called() -> None:
    data = context(
        key_facts("openrouter", "key_or"),
        key_facts("bedrock", "key_b", fields={"region": "eu-west-1"}),
        platform_key("groq", "key_g"),
        platform_key("anthropic", "key_a"),
        policy=KeyPolicy.OWN_THEN_PLATFORM,
    )
    found = listed(data)
    for model in catalog():
        kind = RequestKind.EMBEDDING if Capability.EMBEDDINGS in model.capabilities else RequestKind.CHAT
        made = plan(RouteRequest("acme", model.id, kind=kind), data)
        assert (model.id in found) == bool(made.order), model.id
        if made.order:
            first = made.candidates[made.order[0]]
            assert (found[model.id].provider, found[model.id].key_source) == (first.provider, first.key_source)


def test_tier_and_policy_limit_the_platforms_models() -> None:
    keys = (platform_key("anthropic"),)
    assert "claude-haiku-4-5" in listed(context(*keys))
    assert "claude-opus-4-5" not in listed(context(*keys))
    assert "claude-opus-4-5" in listed(context(*keys, tier=Tier.ENTERPRISE))
    assert "claude-haiku-4-5" not in listed(context(*keys, policy=KeyPolicy.OWN))


def test_a_client_token_sees_its_models_under_its_names() -> None:
    found = listed(context(key_facts("openai")), allowed_models=["gpt-4o", "openai/gpt-5-mini", "gpt-99"])
    assert list(found) == ["gpt-4o", "openai/gpt-5-mini"]
    assert found["openai/gpt-5-mini"].title == "GPT-5 mini"


def test_unavailable_models_are_listed_on_request_and_marked() -> None:
    found = listed(context(), unavailable=True)
    assert len(found) == len(catalog()) + 3
    assert not found["gpt-4o"].available
    assert found["gpt-4o"].providers == []
    assert found["echo"].available


def test_unapproved_models_are_listed_on_request_and_marked() -> None:
    keys = (key_facts("openai", models=["gpt-4o", "ft:gpt-4o:acme::1"]), platform_key("groq", models=["secret-1"]))
    for allowed in (False, True):
        data = context(*keys, allow_unapproved=allowed)
        assert "openai/ft:gpt-4o:acme::1" not in listed(data)
        found = listed(data, unapproved=True)
        tuned = found["openai/ft:gpt-4o:acme::1"]
        assert (tuned.approved, tuned.available) == (False, allowed)
        assert bool(plan(RouteRequest("acme", tuned.id), data).order) == allowed
    assert "openai/gpt-4o" not in found
    assert not any("secret-1" in name for name in found)


def test_models_of_an_own_server_need_no_approval() -> None:
    found = listed(context(key_facts("vllm", models=["llama"])))
    assert found["vllm/llama"].approved
    assert found["vllm/llama"].key_source is KeySource.CUSTOM
    assert "vllm/llama" not in listed(context(key_facts("vllm", models=["llama"], status=KeyStatus.DISABLED)))


def test_azure_deployments_need_no_approval() -> None:
    found = listed(context(key_facts("azure", models=["our-prod-4o"])))
    assert (found["azure/our-prod-4o"].approved, found["azure/our-prod-4o"].available) == (True, True)


def test_prices_are_those_of_the_first_candidate() -> None:
    found = listed(context(key_facts("openai"), key_facts("bedrock", "key_2", fields={"region": "eu-west-1"})))
    mini, vectors, haiku = (found[name] for name in ("gpt-4o-mini", "text-embedding-3-small", "claude-haiku-4-5"))
    assert mini.prices is not None
    assert (mini.prices.input_usd, mini.prices.output_usd, mini.prices.cached_read_usd) == (
        Decimal("0.15"), Decimal("0.6"), Decimal("0.075")
    )  # fmt: skip
    assert mini.prices.price_version.startswith("genai-prices")
    assert vectors.prices is not None
    assert (vectors.prices.input_usd, vectors.prices.output_usd) == (Decimal("0.02"), None)
    assert haiku.prices == list_price("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0")
    assert found["echo"].prices == list_price("echo", "echo")
    assert found["house-model"].prices is None


def test_an_unpriced_model_is_unavailable_if_only_the_platform_could_pay() -> None:
    data = context(platform_key("azure"), tier=Tier.ENTERPRISE)
    assert "gpt-4o" not in listed(data)
    shown = listed(data, unavailable=True)["gpt-4o"]
    assert not shown.available
    assert shown.prices == list_price("openai", "gpt-4o")
    assert listed(context(key_facts("azure")))["gpt-4o"].prices is None


@pytest.mark.parametrize(
    ("query", "some", "never"),
    [
        ({"eu": True}, "claude-haiku-4-5", "gpt-4o"),
        ({"recommended": "qualification"}, "gpt-5-mini", "gpt-4o"),
        ({"recommended": "any"}, "gpt-4o-mini", "gpt-4o"),
        ({"provider": "bedrock"}, "claude-haiku-4-5", "gpt-4o"),
        ({"provider": "lab"}, "lab/house-model", "gpt-4o"),
        ({"tier": Tier.ENTERPRISE}, "claude-opus-4-5", "gpt-4o"),
        ({"model_class": ModelClass.BUDGET}, "gpt-4o-mini", "gpt-4o"),
        ({"capability": Capability.AUDIO_INPUT}, "gpt-audio", "gpt-4o"),
        ({"capability": Capability.EMBEDDINGS}, "text-embedding-3-small", "gpt-4o"),
    ],
)
def test_filters(query: dict[str, Any], some: str, never: str) -> None:
    found = listed(
        context(
            key_facts("openai", "key_1"), at_own_address(key_facts("bedrock", "key_2", fields={"region": "eu-west-1"}))
        ),
        **query,
    )
    assert some in found
    assert never not in found
    assert "echo" not in found


def test_eu_depends_on_the_candidate_and_not_on_the_model() -> None:
    def haiku(region: str) -> Model:
        return listed(context(at_own_address(key_facts("bedrock", fields={"region": region}))))["claude-haiku-4-5"]

    assert haiku("eu-west-1").eu
    elsewhere = context(key_facts("bedrock", fields={"region": "eu-west-1"}, base_url="https://proxy.example"))
    assert not listed(elsewhere)["claude-haiku-4-5"].eu, "nobody knows where an address that somebody chose is"
    assert not haiku("us-east-1").eu
    assert not haiku("eu-west-2").eu, "London is in Europe and not in the Union"


def test_an_own_endpoint_in_the_european_union_is_listed_as_such() -> None:
    data = context()
    inside = replace(data, endpoints=[endpoint.model_copy(update={"eu": True}) for endpoint in data.endpoints])
    assert list(listed(inside, eu=True)) == ["house-model", "lab/house-model"]
    assert list(listed(data, eu=True)) == []


def test_orders() -> None:
    data = context(key_facts("openai"))
    names = list(listed(data, sort=ModelSort.NAME))
    assert names == sorted(names)
    contexts = [model.context_tokens or 0 for model in listed(data, sort=ModelSort.CONTEXT).values()]
    assert contexts == sorted(contexts, reverse=True)
    assert contexts[0] > 1_000_000
    costs = [
        None if model.prices is None else model.prices.input_usd + (model.prices.output_usd or 0)
        for model in listed(data, sort=ModelSort.COST).values()
    ]
    priced = [cost for cost in costs if cost is not None]
    assert priced == sorted(priced)
    assert len(priced) > 10
    assert costs[len(priced) :] == [None, None], "the own endpoint's two names, which have no price, come last"
    popular = [name for name in listed(data, sort=ModelSort.POPULARITY) if "gpt" in name]
    assert popular == [model.id for model in catalog() if model.id in popular]


def test_the_fastest_model_comes_first_where_it_would_be_tried_first_and_unknown_ones_last() -> None:
    median_ms = {"gpt-4o": 900, "gpt-4.1": 300, "gpt-5": 5000}

    def latency(target: Target) -> LatencySummary | None:
        found = median_ms.get(target.model)
        if found is None or target.provider != "openai":
            return None
        return LatencySummary(target=target, samples=30, p50_ms=found, p95_ms=10_000 - found, measured_at=NOW)

    data = replace(context(key_facts("openai"), key_facts("openrouter", "key_or")), latency=latency)
    names = list(listed(data, sort=ModelSort.LATENCY))
    assert names[:3] == ["gpt-4.1", "gpt-4o", "gpt-5"]
    assert names[3:] == [name for name in listed(data) if name not in median_ms], "otherwise as they were"
