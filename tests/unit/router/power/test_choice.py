"""Choices by power level: refusals, order, reasons, and invariants for any tenant and request."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.catalog import Capability
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.features import LEVEL_MODELS, VIRTUAL_MODELS, PowerLevel
from keyferry.contracts.health import CircuitState, Health, LatencySummary, Target
from keyferry.contracts.providers import RESERVED_NAMES
from keyferry.contracts.route import ListModels, SaveEndpoint
from keyferry.contracts.tenancy import KeyPolicy, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.reading import InvalidCatalog, read_catalog
from services.router.endpoints.validation import InvalidEndpoint, validate_endpoint
from services.router.planning.available_models import available_models
from services.router.planning.plan import plan
from services.router.power.choice import MAX_LISTED, MAX_PLANNED, choose_by_level, value_for_cost
from services.router.power.levels import BOUNDS, kind_of
from services.router.power.ratings import NOTHING_LEARNED, LearnedQuality, RatingSum
from services.router.power.table import ANY_TENANT
from services.router.power.tables import PowerTables
from services.router.preferences.effective import FROM_DEFAULT, EffectivePreferences
from tests.support.router.keys_and_prices import catalog, key_facts, list_price
from tests.support.router.power import NOW, asks, power_context, quality

ECO, BALANCED, PRECISION = PowerLevel
ON_MARS = EffectivePreferences(allowed_regions=(("mars",),), region_sources=(FROM_DEFAULT,))
LEARNS = EffectivePreferences(learned_quality=True)


def refused(name: str, request: dict[str, Any], tenant: dict[str, Any]) -> tuple[FailureClass, str]:
    planned = plan(asks(name, **request), power_context(**tenant))
    assert planned.refusal is not None
    assert not planned.order
    return planned.refusal.failure_class, planned.refusal.message


@pytest.mark.parametrize(
    ("name", "request_", "tenant", "failure_class", "message"),
    [
        ("eco", {}, {"platform": ()}, FailureClass.POLICY, "no chat model of the catalog that this tenant can call"),
        ("precision", {}, {"tier": Tier.FREE}, FailureClass.POLICY, "gpt-oss-120b: its quality is 79; precision needs 80"),
        ("eco", {"tokens": 2_000_000}, {}, FailureClass.BAD_REQUEST, "its context has 128 000 tokens"),
        ("eco", {"audio": True}, {"platform": ("anthropic",)}, FailureClass.BAD_REQUEST, "does not support audio"),
        ("eco", {"max_output_tokens": 10**6}, {"platform": ("anthropic",)}, FailureClass.BAD_REQUEST, "at most 64 000"),
        ("eco", {"allowed_models": []}, {}, FailureClass.POLICY, "that the client token may use"),
        ("eco", {"power_level": PRECISION}, {}, FailureClass.BAD_REQUEST, "send one of the two"),
        ("eco", {"kind": RequestKind.EMBEDDING}, {}, FailureClass.BAD_REQUEST, "name an embedding model"),
        ("auto", {}, {"tenant": None}, FailureClass.POLICY, "suspended or unknown"),
        ("balanced", {}, {"preferences": ON_MARS}, FailureClass.POLICY, "mars"),
    ],
)  # fmt: skip
def test_refusals_say_which_bound_excluded_what(
    name: str, request_: dict[str, Any], tenant: dict[str, Any], failure_class: FailureClass, message: str
) -> None:
    found, text = refused(name, request_, tenant)
    assert found is failure_class
    assert message in text
    assert len(text) < 1500


def test_unknown_quality_is_chosen_by_no_level_until_it_is_rated() -> None:
    tenant: dict[str, Any] = {"platform": ("anthropic",)}
    request = asks("precision", allowed_models=["claude-opus-5"])
    refusal = choose_by_level("precision", request, power_context(**tenant)).refusal
    assert refusal is not None
    assert "unknown: none of the sources lists it" in refusal.message
    learned = LearnedQuality({("claude-opus-5", None): RatingSum(60, 300)})
    unasked = power_context(**tenant, learned=learned)
    assert choose_by_level("precision", request, unasked).refusal is not None, (
        "learning is off unless it is switched on"
    )
    switched_on = power_context(**tenant, learned=learned, preferences=LEARNS)
    assert choose_by_level("precision", request, switched_on).models[0][0] == "claude-opus-5"


def test_bad_ratings_take_a_model_from_the_first_place() -> None:
    learned = LearnedQuality({("gpt-5.5", "research"): RatingSum(20, 20), ("gpt-5.5", None): RatingSum(20, 20)})
    context = power_context(learned=learned, preferences=LEARNS)
    assert choose_by_level("precision", asks("precision", operation="research"), context).models[0][0] != "gpt-5.5"
    assert choose_by_level("precision", asks("precision"), power_context(learned=learned)).models[0][0] == "gpt-5.5"


def test_slow_models_come_last_and_answer_if_all_are_slow() -> None:
    one = power_context(platform=("anthropic",), latency_ms={"claude-haiku-4-5": 90_000})
    names = [name for name, _ in choose_by_level("eco", asks("eco"), one).models]
    assert names[-1] == "claude-haiku-4-5"
    slow = dict.fromkeys(("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5", "claude-opus-4-1"), 90000)
    everyone = choose_by_level(
        "eco", asks("eco"), power_context(platform=("anthropic",), latency_ms=slow | {"claude-opus-4-5": 70_000})
    )
    assert everyone.models[0][0] == "claude-opus-4-5", "the least slow"
    assert "slow: 95 % of its answers within 70.0 s" in everyone.models[0][1]


def test_a_slow_model_is_slow_whatever_its_other_providers_are() -> None:
    """What counts is who is called first: where nothing was called yet, nothing is known, and nothing is called either."""

    def first(slow_provider: str, **tenant: Any) -> str:
        def latency(target: Target) -> LatencySummary | None:
            if (target.provider, target.model) != (slow_provider, "openai/gpt-oss-20b"):
                return None
            return LatencySummary(target=target, samples=100, p50_ms=1, p95_ms=90_000, measured_at=NOW)

        context = power_context(platform=("groq", "openrouter"), latency=latency, **tenant)
        request = asks("eco", allowed_models=["gpt-oss-20b", "gpt-oss-120b"])
        return choose_by_level("eco", request, context).models[0][0]

    assert first("openrouter") != "gpt-oss-20b", "it is the cheapest, and so called first"
    assert first("groq") == "gpt-oss-20b"
    groq_first = EffectivePreferences(default_provider="groq")
    assert first("groq", preferences=groq_first) != "gpt-oss-20b"
    assert first("openrouter", preferences=groq_first) == "gpt-oss-20b"


def test_eco_counts_the_price_of_the_provider_that_is_called_first() -> None:
    platform = ("groq", "openrouter")
    for preferences in (EffectivePreferences(), EffectivePreferences(default_provider="groq")):
        context = power_context(platform=platform, preferences=preferences)
        for model, detail in choose_by_level("eco", asks("eco"), context).models:
            planned = plan(asks(model, power_level=ECO), context)
            called = planned.candidates[planned.order[0]]
            prices = list_price(called.provider, called.model)
            assert prices is not None
            cost = prices.input_usd * 500 + (prices.output_usd or 0) * 1000
            assert f"about ${cost / 10**6:.6f}" in detail


@pytest.mark.parametrize(
    ("level", "other"), [("eco", "mistral"), ("balanced", "anthropic"), ("precision", "anthropic")]
)
def test_an_outage_of_one_provider_refuses_nothing_that_another_can_answer(level: str, other: str) -> None:
    def health(target: Target) -> Health | None:
        if target.provider != "openrouter":
            return None
        until = NOW + timedelta(minutes=5)
        return Health(target=target, state=CircuitState.OPEN, reason="503", changed_at=NOW, until=until)

    context = power_context(platform=("openrouter", other))
    choice = choose_by_level(level, asks(level), context)
    assert len(choice.models) == MAX_PLANNED
    planned = plan(asks(level), replace(context, health=health))
    assert {planned.candidates[index].provider for index in planned.order} == {other}
    listed = [model for model, _ in choice.models] + [each.model for each in choice.passed_over]
    assert len(listed) == len(set(listed))
    alone = choose_by_level(level, asks(level), power_context(platform=("openrouter",)))
    assert all("another provider" not in detail for _, detail in alone.models)


def test_preferred_models_come_in_their_order_as_far_as_they_fit() -> None:
    wishes = ("claude-opus-5", "openai/gpt-4o", "gpt-4o-mini", "nothing")
    context = power_context(preferences=EffectivePreferences(preferred_models=wishes))
    names = [name for name, _ in choose_by_level("eco", asks("eco"), context).models]
    assert names[:2] == ["gpt-4o", "gpt-4o-mini"], "opus-5 has no known quality, the others are in order"
    assert "preferred" not in choose_by_level("eco", asks("eco"), context).models[2][1]
    audio = choose_by_level("eco", asks("eco", audio=True), context).models
    assert audio[0][0] == "gemini-2.5-flash-lite"


def test_what_is_passed_over_has_a_reason_and_is_bounded() -> None:
    choice = choose_by_level("precision", asks("precision"), power_context())
    assert len(choice.models) == MAX_PLANNED
    assert len(choice.passed_over) <= MAX_LISTED + 1
    assert all(each.detail and not each.planned for each in choice.passed_over)
    assert choice.passed_over[-1].model == "others"
    few = choose_by_level("eco", asks("eco", allowed_models=["gpt-4o"]), power_context(platform=("openai",)))
    reasons = {each.model: each.detail for each in few.passed_over}
    assert reasons["gpt-5"] == "the client token may not use it"


def test_named_model_keeps_its_place_and_eco_takes_its_cheapest_offering() -> None:
    own = (key_facts("groq", "key_groq", priority=1), key_facts("openrouter", "key_router", priority=2))
    context = power_context(platform=(), own=own)
    plain = plan(asks("gpt-oss-20b"), context)
    assert plain.power_level is None
    assert plain.candidates[plain.order[0]].provider == "groq", "by priority"
    eco = plan(asks("gpt-oss-20b", power_level=ECO), context)
    assert eco.power_level is ECO
    assert [eco.candidates[index].provider for index in eco.order] == ["openrouter", "groq"], "by price"
    saved = plan(
        asks("gpt-oss-20b"), replace(context, preferences=lambda request: EffectivePreferences(power_level=ECO))
    )
    assert saved.power_level is ECO
    assert saved.candidates[saved.order[0]].provider == "openrouter"
    header = replace(context, preferences=lambda request: EffectivePreferences(power_level=ECO))
    best = plan(asks("gpt-oss-20b", power_level=PRECISION), header)
    assert (best.power_level, best.candidates[best.order[0]].provider) == (PRECISION, "groq")


def test_own_keys_pay_before_a_cheaper_key_of_the_platform() -> None:
    context = power_context(platform=("openrouter",), own=("groq",), policy=KeyPolicy.OWN_THEN_PLATFORM)
    eco = plan(asks("gpt-oss-20b", power_level=ECO), context)
    assert [eco.candidates[index].key_source for index in eco.order] == [KeySource.BYOK, KeySource.PLATFORM]


def test_tables_are_kept_until_a_source_changes() -> None:
    context = power_context()
    first = context.power_table(asks("eco"), context)
    assert context.power_table(asks("auto", tools=True), context) is first
    tables = PowerTables(quality())
    kept = tables.of(asks("eco"), context, NOTHING_LEARNED, 1)
    assert tables.of(asks("eco"), context, NOTHING_LEARNED, 1) is kept
    assert tables.of(asks("eco"), context, NOTHING_LEARNED, 2) is not kept, "prices may have changed"
    fewer = replace(context, platform_keys={})
    assert not fewer.power_table(asks("eco"), fewer).models


def test_tenants_without_keys_of_their_own_share_a_table_and_no_name() -> None:
    tables = PowerTables(quality())
    base = power_context(Tier.FREE)
    names = [f"tenant-{number}" for number in range(50)]
    for name in names:
        tenant = base.tenant.model_copy(update={"tenant": name}) if base.tenant else None
        context = replace(
            base, tenant=tenant, power_table=lambda request, own: tables.of(request, own, NOTHING_LEARNED)
        )
        planned = plan(replace(asks("precision"), tenant=name), context)
        assert planned.refusal is not None
        texts = "\n".join([planned.refusal.message, *(each.detail for each in planned.models)])
        assert ANY_TENANT not in texts
        assert "acme" not in texts
        assert all(f"--tenant {other}`" not in texts for other in names if other != name)
    assert len(tables) == 1
    other_tier = power_context(Tier.STARTER)
    tables.of(asks("eco"), replace(other_tier, platform_keys=base.platform_keys), NOTHING_LEARNED)
    own = power_context(Tier.FREE, own=("openai",))
    tables.of(asks("eco"), replace(own, platform_keys=base.platform_keys), NOTHING_LEARNED)
    assert len(tables) == 3


def test_expiry_of_a_key_ends_a_table() -> None:
    key = key_facts("anthropic", "key_1", expires_at=NOW + timedelta(seconds=30))
    context = power_context(platform=(), own=(key,))
    assert context.power_table(asks("eco"), context).models
    later = replace(context, now=NOW + timedelta(seconds=31))
    assert not later.power_table(asks("eco"), later).models


def test_virtual_models_are_listed_where_they_lead_to_one() -> None:
    listed = available_models(power_context(), ListModels(tenant="acme"))
    assert [model.id for model in listed if model.virtual] == ["eco", "balanced", "precision", "auto"]
    assert {model.id for model in listed if model.provider == "keyferry"} == set(LEVEL_MODELS)
    free = available_models(power_context(Tier.FREE), ListModels(tenant="acme"))
    assert [model.id for model in free if model.virtual] == ["eco", "balanced", "auto"]
    none = available_models(power_context(platform=()), ListModels(tenant="acme"))
    assert not [model for model in none if model.virtual]
    limited = ListModels(tenant="acme", allowed_models=["gpt-5.5"])
    assert [model.id for model in available_models(power_context(), limited)] == [
        "gpt-5.5",
        *("eco", "balanced", "precision", "auto"),
    ]


def test_nothing_else_may_have_the_name_of_a_virtual_model() -> None:
    assert VIRTUAL_MODELS <= RESERVED_NAMES
    for name in VIRTUAL_MODELS:
        with pytest.raises(InvalidEndpoint):
            validate_endpoint(SaveEndpoint(tenant="acme", name=name, base_url="http://a.example/v1", models=[]))
        with pytest.raises(InvalidEndpoint, match=name):
            validate_endpoint(SaveEndpoint(tenant="acme", name="lab", base_url="http://a.example/v1", models=[name]))
        model = next(iter(catalog())).model_dump(mode="json", by_alias=True, exclude_none=True) | {"aliases": []}
        text = f'[[models]]\nid = "{name}"\nmaker = "M"\ntitle = "T"\ndescription = "D"\nbest_for = ["x"]\nclass = "budget"\n'
        text += f'capabilities = ["chat"]\ntier = "{model["tier"]}"\nofferings = [{{ provider = "openai", upstream = "x" }}]\n'
        with pytest.raises(InvalidCatalog, match=name):
            read_catalog({"a.toml": text})
    assert catalog().resolve("openrouter/auto").model is not None, "OpenRouter's own choice stays a model"


@pytest.mark.parametrize(("cheap", "dear"), [((65 + 9, 100), (65 + 19, 801)), ((65 + 19, 100), (65 + 39, 801))])
def test_eight_times_the_cost_needs_twice_the_points(cheap: tuple[int, int], dear: tuple[int, int]) -> None:
    assert value_for_cost(*cheap) > value_for_cost(*dear)
    assert value_for_cost(*cheap) <= value_for_cost(dear[0], 800)


TENANTS = st.fixed_dictionaries(
    {
        "tier": st.sampled_from(list(Tier)),
        "platform": st.lists(st.sampled_from(["openai", "anthropic", "groq", "openrouter", "mistral"]), unique=True),
        "own": st.lists(st.sampled_from(["gemini", "deepseek", "bedrock"]), unique=True),
        "policy": st.sampled_from([None, *KeyPolicy]),
        "preferences": st.sampled_from([EffectivePreferences(), EffectivePreferences(eu_only=True), LEARNS]),
    }
)
REQUESTS = st.fixed_dictionaries(
    {
        "tokens": st.sampled_from([0, 500, 40_000, 300_000, 2**63 - 1]),
        "max_output_tokens": st.sampled_from([None, 1, 8_000, 2**63 - 1]),
        "tools": st.booleans(),
        "json_schema": st.booleans(),
        "images": st.booleans(),
        "audio": st.booleans(),
        "code": st.booleans(),
        "allowed_models": st.none() | st.lists(st.sampled_from([model.id for model in catalog()]), max_size=6),
    }
)


@settings(max_examples=25)
@given(st.sampled_from(sorted(LEVEL_MODELS)), REQUESTS, TENANTS)
def test_every_choice_fits_and_is_the_same_again(name: str, request: dict[str, Any], tenant: dict[str, Any]) -> None:
    context, asked = power_context(**tenant), asks(name, **request)
    planned = plan(asked, context)
    again = plan(asked, power_context(**tenant))
    assert (planned.candidates, planned.order, planned.models) == (again.candidates, again.order, again.models)
    assert (planned.refusal is None) == bool(planned.order)
    for index in planned.order:
        candidate = planned.candidates[index]
        assert candidate.chosen_model is not None
        model = context.catalog.resolve(candidate.chosen_model).model
        assert model is not None
        assert asked.allowed_models is None or model.id in asked.allowed_models
        for wanted, capability in (
            ("tools", Capability.TOOLS),
            ("images", Capability.VISION),
            ("audio", Capability.AUDIO_INPUT),
        ):
            assert not request[wanted] or capability in model.capabilities
        assert model.context_tokens is None or request["tokens"] < model.context_tokens
        score = quality().of(model.id).of(kind_of(asked.features))
        assert score is not None
        assert planned.power_level is not None
        assert score >= BOUNDS[planned.power_level].quality
        if tenant["preferences"].eu_only:
            assert planned.residencies[index].eu
