"""What holds for every plan, with preferences, rules and virtual models: constraints, reasons, and the same plan again."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.features import VIRTUAL_MODELS, PowerLevel, RequestFeatures
from keyferry.contracts.preferences import Preferences, PreferenceScope, RoutingMode, SavedPreferences
from keyferry.contracts.residency import is_in_eu
from keyferry.contracts.route import Endpoint
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import ChainStep, Rule, RuleConditions, RuleSet, SplitShare
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.preferences.effective import resolve
from services.router.rules.matching import RuleIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
NAMES = ("gpt-4o-mini", "claude-haiku-4-5", "openai/gpt-4o", "lab/own", "nothing", *sorted(VIRTUAL_MODELS))
CONCRETE = st.sampled_from(("gpt-4o-mini", "gpt-5.5", "claude-haiku-4-5", "mistral-large-latest"))
PROVIDERS = ("openai", "anthropic", "openrouter", "bedrock", "mistral")

KEYS = {
    "own": {
        provider: [key_facts(provider, f"key_own_{provider}", fields={"region": "eu-central-1"})]
        for provider in ("openai", "bedrock")
    },
    "platform": {provider: [platform_key(provider, f"key_{provider}")] for provider in PROVIDERS},
}
STEPS = st.one_of(
    st.builds(lambda name: ChainStep(model=name), CONCRETE | st.sampled_from(("auto", "default"))),
    st.builds(lambda level: ChainStep(power_level=level), st.sampled_from(list(PowerLevel))),
    st.builds(
        lambda weight: ChainStep(
            split=[SplitShare(model="gpt-4o-mini", weight=weight), SplitShare(model="gpt-5.5", weight=1)]
        ),
        st.integers(1, 50),
    ),
)
RULES = st.builds(
    lambda operation, chain: Rule(name="rule", when=RuleConditions(operation=[operation]), chain=chain),
    st.sampled_from(("summary", "other")),
    st.lists(STEPS, min_size=1, max_size=3),
)
PREFERENCES = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(list(RoutingMode)),
        "default_model": CONCRETE,
        "fallback_models": st.lists(CONCRETE, max_size=2, unique=True),
        "preferred_models": st.lists(CONCRETE, max_size=2, unique=True),
        "default_provider": st.sampled_from(PROVIDERS),
        "eu_only": st.booleans(),
        "allowed_regions": st.sampled_from((["eu"], ["eu-central-1"], ["us"])),
        "power_level": st.sampled_from(list(PowerLevel)),
        "auto_provider_switch": st.booleans(),
        "cost_optimization": st.booleans(),
    },
)
REQUESTS = st.builds(
    RouteRequest,
    tenant=st.just("acme"),
    model=st.sampled_from(NAMES),
    allowed_models=st.none() | st.lists(st.sampled_from(NAMES), max_size=4),
    kind=st.sampled_from(list(RequestKind)),
    prefer_own_keys=st.sampled_from((None, "first", "last", "only")),
    request_id=st.sampled_from(("req_1", "req_2", "req_3")),
    operation=st.sampled_from((None, "summary")),
    power_level=st.none() | st.sampled_from(list(PowerLevel)),
    features=st.builds(RequestFeatures, input_tokens=st.sampled_from((10, 150_000)), tools=st.booleans()),
)
ENDPOINTS = st.lists(
    st.builds(
        lambda eu: Endpoint(tenant="acme", name="lab", base_url="https://lab.example/v1", models=["own"], eu=eu),
        st.booleans(),
    ),
    max_size=1,
)


def context_of(
    saved: dict[str, Any], rules: list[Rule], endpoints: list[Endpoint], policy: KeyPolicy | None, tier: Tier
) -> RoutingContext:
    in_force = resolve(
        [
            SavedPreferences(
                tenant="acme",
                scope=PreferenceScope.TENANT,
                scope_id="acme",
                revision=1,
                preferences=Preferences(**saved),
            )
        ]
    )
    index = RuleIndex()
    if rules:
        version = RuleSetVersion(
            tenant="acme", version=1, rule_set=RuleSet(rules=rules), actor="operator", published_at=NOW
        )
        index.replace("acme", [version])
    return RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=tier, key_policy=policy),
        endpoints,
        NOW,
        catalog=catalog(),
        own_keys=KEYS["own"],
        platform_keys=KEYS["platform"],
        prices=list_price,
        preferences=lambda request: in_force,
        rules=index.of("acme"),
    )


CONTEXTS = st.builds(
    context_of,
    PREFERENCES,
    st.lists(RULES, max_size=1),
    ENDPOINTS,
    st.none() | st.sampled_from(list(KeyPolicy)),
    st.sampled_from(list(Tier)),
)


@settings(max_examples=300)
@given(request=REQUESTS, context=CONTEXTS)
def test_every_candidate_has_its_reason_and_every_plan_an_end(request: RouteRequest, context: RoutingContext) -> None:
    made = plan(request, context)
    assert (made.refusal is None) == bool(made.order)
    assert made.refusal is None or made.refusal.message
    assert len(set(made.order)) == len(made.order)
    for index, candidate in enumerate(made.candidates):
        assert candidate.detail
        assert candidate.kept == (candidate.reason is None) == (index in made.order)
    assert all(model.detail for model in made.models)
    planned = [model.model for model in made.models if model.planned]
    assert len(set(planned)) == len(planned)


@settings(max_examples=300)
@given(request=REQUESTS, context=CONTEXTS)
def test_no_plan_breaks_a_hard_constraint(request: RouteRequest, context: RoutingContext) -> None:
    made = plan(request, context)
    preferences = context.preferences(request)
    tenant = context.tenant
    assert tenant is not None
    for index in made.order:
        candidate = made.candidates[index]
        source = candidate.key_source
        if source is KeySource.PLATFORM:
            assert tenant.key_policy is not KeyPolicy.OWN
            assert request.prefer_own_keys != "only"
            model = catalog().resolve(candidate.chosen_model or request.model).model
            assert model is not None
            assert list(Tier).index(tenant.tier) >= list(Tier).index(model.tier)
        if source is KeySource.BYOK:
            assert tenant.key_policy is not KeyPolicy.PLATFORM
        mode = preferences.mode
        if source is not KeySource.NONE and mode is not None:
            assert mode is not RoutingMode.PLATFORM or source is KeySource.PLATFORM
            assert mode is not RoutingMode.CUSTOM or source is KeySource.CUSTOM
        if source is not KeySource.NONE and preferences.eu_only:
            where = made.residencies[index]
            assert is_in_eu(marked=where.eu, region=where.region)
        _assert_allowed_by_token(made, index, request)


def _assert_allowed_by_token(made: Plan, index: int, request: RouteRequest) -> None:
    if request.allowed_models is None:
        return
    name = made.candidates[index].chosen_model or request.model
    resolved = catalog().resolve(name).model
    names = {name, resolved.id if resolved else name}
    assert names & set(request.allowed_models) or (
        request.model in VIRTUAL_MODELS and request.model in request.allowed_models
    )


@settings(max_examples=200)
@given(request=REQUESTS, context=CONTEXTS)
def test_the_same_request_gets_the_same_plan(request: RouteRequest, context: RoutingContext) -> None:
    first, second = plan(request, context), plan(request, context)
    assert (first.candidates, first.order, first.models) == (second.candidates, second.order, second.models)
    assert (first.refusal, first.power_level, first.rule) == (second.refusal, second.power_level, second.rule)
