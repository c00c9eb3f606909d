"""Invariants of every plan, for any tenant, keys, policy and request."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.key import USABLE, KeyFacts, KeyStatus
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.list_prices import covers
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PROVIDERS = ("openai", "anthropic", "openrouter", "bedrock", "vllm", "azure")
MODELS = (
    "gpt-4o", "openai/gpt-4o", "claude-haiku-4-5", "openrouter/auto", "openai/unlisted", "vllm/own", "azure/mine",
    "text-embedding-3-small", "nothing",
)  # fmt: skip
NAMES = st.sampled_from((*MODELS, "unlisted"))


@st.composite
def keys(draw: st.DrawFn) -> list[KeyFacts]:
    count = draw(st.integers(0, 8))
    return [
        key_facts(
            draw(st.sampled_from(PROVIDERS)),
            f"key_{number}",
            tenant=draw(st.sampled_from(("acme", "other", "platform"))),
            status=draw(st.sampled_from(list(KeyStatus))),
            priority=draw(st.integers(0, 3)),
            weight=draw(st.integers(1, 5)),
            over_limit=draw(st.booleans()),
            expires_at=draw(st.sampled_from((None, NOW, NOW + timedelta(days=1)))),
            allowed_models=draw(st.none() | st.lists(NAMES, max_size=3)),
            models=draw(st.lists(st.sampled_from(("unlisted", "gpt-4o")), max_size=2)),
            fields={"region": draw(st.sampled_from(("eu-west-1", "us-east-1", "ap-south-1")))},
        )
        for number in range(count)
    ]


@st.composite
def tries(draw: st.DrawFn) -> list[FailedAttempt]:
    return [
        FailedAttempt(
            attempt_id="att_1",
            provider=draw(st.sampled_from(PROVIDERS)),
            model=draw(NAMES),
            key_id=draw(st.sampled_from((None, "key_0", "key_1"))),
            failure=Failure(failure_class=draw(st.sampled_from(list(FailureClass))), message="no"),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]


REQUESTS = st.builds(
    RouteRequest,
    tenant=st.just("acme"),
    model=st.sampled_from(MODELS),
    allowed_models=st.none() | st.lists(st.sampled_from(MODELS), max_size=3),
    failed_attempts=tries(),
    kind=st.sampled_from(list(RequestKind)),
    prefer_own_keys=st.sampled_from((None, "first", "last", "only")),
    request_id=st.sampled_from(("req_1", "req_2")),
)
POLICIES = st.none() | st.sampled_from(list(KeyPolicy))


def planned(
    request: RouteRequest,
    found: list[KeyFacts],
    policy: KeyPolicy | None,
    tier: Tier,
    *,
    allow_unapproved: bool = False,
) -> Plan:
    index = KeyIndex()
    index.rebuild(found)
    tenant = Tenant(tenant="acme", name="Acme", tier=tier, key_policy=policy, allow_unapproved=allow_unapproved)
    # Foreign keys simulate a corrupt view, against which the plan must hold as well.
    own = {
        provider: [*index.of("acme").get(provider, ()), *index.of("other").get(provider, ())] for provider in PROVIDERS
    }
    context = RoutingContext(
        tenant, (), NOW, catalog=catalog(), own_keys=own, platform_keys=index.of("platform"), prices=list_price
    )
    return plan(request, context)


@settings(max_examples=400)
@given(request=REQUESTS, found=keys(), policy=POLICIES, tier=st.sampled_from(list(Tier)), unapproved=st.booleans())
def test_invariants_of_every_plan(
    request: RouteRequest, found: list[KeyFacts], policy: KeyPolicy | None, tier: Tier, unapproved: bool
) -> None:
    made = planned(request, found, policy, tier, allow_unapproved=unapproved)
    by_id = {key.key_id: key for key in found}
    assert (made.refusal is None) == bool(made.order)
    assert len(set(made.order)) == len(made.order)
    assert all(candidate.detail for candidate in made.candidates)
    assert all(candidate.kept == (candidate.reason is None) for candidate in made.candidates)
    assert {index for index, candidate in enumerate(made.candidates) if candidate.kept} == set(made.order)
    for candidate in made.candidates:
        assert candidate.key_id is None or by_id[candidate.key_id].tenant in ("acme", "platform")
    for index in made.order:
        candidate, key = made.candidates[index], made.keys[index]
        assert (candidate.key_id, candidate.provider) == (key.key_id, key.provider)
        assert key.status in USABLE
        assert not key.over_limit
        assert key.expires_at is None or key.expires_at > NOW
        assert (candidate.key_source is KeySource.PLATFORM) == (key.tenant == "platform")
        _assert_allowed(key, request, policy, tier)
        listed = catalog().resolve(request.model).model
        if key.tenant == "platform":
            prices = list_price(candidate.provider, candidate.model)
            assert covers(prices, embeds=listed is not None and listed.dimensions is not None)
        assert listed is not None or unapproved or key.provider in NAMED_BY_TENANT


def _assert_allowed(key: KeyFacts, request: RouteRequest, policy: KeyPolicy | None, tier: Tier) -> None:
    if key.tenant == "platform":
        assert policy is not KeyPolicy.OWN
        assert request.prefer_own_keys != "only"
        model = catalog().resolve(request.model).model
        assert model is not None
        assert list(Tier).index(tier) >= list(Tier).index(model.tier)
    else:
        assert key.tenant == "acme"
        assert policy is not KeyPolicy.PLATFORM
    again = [
        failed for failed in request.failed_attempts if failed.key_id == key.key_id and failed.provider == key.provider
    ]
    resolved = {offering.upstream for offering in catalog().resolve(request.model).offerings}
    assert not [failed for failed in again if resolved == {failed.model}]


@settings(max_examples=100)
@given(request=REQUESTS, found=keys(), policy=POLICIES)
def test_the_plan_does_not_depend_on_the_order_of_the_view(
    request: RouteRequest, found: list[KeyFacts], policy: KeyPolicy | None
) -> None:
    there = planned(request, found, policy, Tier.ENTERPRISE)
    back = planned(request, list(reversed(found)), policy, Tier.ENTERPRISE)
    assert [there.candidates[i].key_id for i in there.order] == [back.candidates[i].key_id for i in back.order]
