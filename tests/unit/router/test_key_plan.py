"""Planning over provider keys: whose key pays for which offering, in which order, and why not."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import CircuitState, Health, KeyClass, Target
from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.route import DropReason, Endpoint
from keyferry.contracts.tenancy import ByokUse, KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from keyferry.tiers.byok import ByokSwitch
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

NOW = datetime(2026, 11, 1, tzinfo=UTC)
_D = DropReason


def planned(
    model: str,
    *keys: KeyFacts,
    policy: KeyPolicy | None = None,
    tier: Tier = Tier.ENTERPRISE,
    endpoints: tuple[Endpoint, ...] = (),
    health: dict[str, Health] | None = None,
    may_probe: bool | Callable[[Target], bool] = False,
    allow_unapproved: bool = False,
    byok: ByokUse = ByokUse.DEFAULT,
    switch: ByokSwitch = ByokSwitch(),  # noqa: B008 - it is immutable
    **request: Any,
) -> Plan:
    index = KeyIndex()
    index.rebuild(keys)
    data = health or {}
    context = RoutingContext(
        Tenant(tenant="acme", name="Acme", tier=tier, key_policy=policy, allow_unapproved=allow_unapproved, byok=byok),
        endpoints,
        NOW,
        health=lambda target: data.get(target.key),
        may_probe=may_probe if callable(may_probe) else lambda _: bool(may_probe),
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        own_servers=index.servers_of("acme"),
        prices=list_price,
        byok=switch,
    )
    return plan(RouteRequest("acme", model, **request), context)


def order(made: Plan) -> list[str | None]:
    return [made.candidates[index].key_id for index in made.order]


def reasons(made: Plan) -> dict[str | None, DropReason | None]:
    return {candidate.key_id: candidate.reason for candidate in made.candidates if candidate.provider != "echo"}


def refused(made: Plan) -> Failure:
    assert made.refusal is not None
    assert not made.order
    return made.refusal


OWN, PLATFORM = key_facts("openai", "key_own"), platform_key("openai", "key_plat")


@pytest.mark.parametrize(
    ("policy", "prefer", "expected"),
    [
        (None, None, ["key_own"]),
        (None, "first", ["key_own"]),
        (None, "last", ["key_own"]),
        (None, "only", ["key_own"]),
        (KeyPolicy.OWN, None, ["key_own"]),
        (KeyPolicy.OWN, "first", ["key_own"]),
        (KeyPolicy.OWN, "last", ["key_own"]),
        (KeyPolicy.OWN, "only", ["key_own"]),
        (KeyPolicy.PLATFORM, None, ["key_plat"]),
        (KeyPolicy.PLATFORM, "first", ["key_plat"]),
        (KeyPolicy.PLATFORM, "last", ["key_plat"]),
        (KeyPolicy.PLATFORM, "only", []),
        (KeyPolicy.OWN_THEN_PLATFORM, None, ["key_own", "key_plat"]),
        (KeyPolicy.OWN_THEN_PLATFORM, "first", ["key_own", "key_plat"]),
        (KeyPolicy.OWN_THEN_PLATFORM, "last", ["key_plat", "key_own"]),
        (KeyPolicy.OWN_THEN_PLATFORM, "only", ["key_own"]),
    ],
)
def test_the_policy_decides_whose_key_pays_and_a_request_only_narrows_it(
    policy: KeyPolicy | None, prefer: Any, expected: list[str]
) -> None:
    made = planned("openai/gpt-4o", OWN, PLATFORM, policy=policy, prefer_own_keys=prefer)
    assert order(made) == expected
    if not expected:
        assert refused(made).failure_class is FailureClass.POLICY


def test_without_a_policy_and_without_an_own_key_the_platform_pays() -> None:
    assert order(planned("gpt-4o", PLATFORM)) == ["key_plat"]
    assert order(planned("gpt-4o", PLATFORM, key_facts("groq"))) == ["key_plat"]


def test_without_a_policy_the_platform_does_not_replace_an_unusable_own_key() -> None:
    broken = key_facts("openrouter", "key_own", status=KeyStatus.INVALID)
    failure = refused(planned("gpt-4o", broken, PLATFORM))
    assert failure.failure_class is FailureClass.POLICY
    assert "invalid" in failure.message
    assert "keyferry tenants set acme --keys own-then-platform" in failure.message


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"status": KeyStatus.INVALID}, _D.KEY_UNUSABLE, "keyferry keys rotate key_1 --tenant acme`"),
        ({"status": KeyStatus.EXPIRED}, _D.KEY_UNUSABLE, "expired"),
        ({"status": KeyStatus.DISABLED}, _D.KEY_UNUSABLE, "keyferry keys enable key_1 --tenant acme`"),
        ({"status": KeyStatus.UNDECRYPTABLE}, _D.KEY_UNUSABLE, "vault verify"),
        ({"expires_at": NOW}, _D.KEY_UNUSABLE, "expired"),
        ({"over_limit": True}, _D.KEY_LIMIT_SPENT, "monthly limit"),
        ({"allowed_models": ["gpt-4.1"]}, _D.KEY_NOT_FOR_MODEL, "not allowed for gpt-4o"),
    ],
)
def test_an_ineligible_key_is_dropped_with_its_reason(
    changes: dict[str, Any], reason: DropReason, message: str
) -> None:
    made = planned("gpt-4o", key_facts("openai", **changes))
    assert reasons(made)["key_1"] is reason
    failure = refused(made)
    assert failure.failure_class is FailureClass.POLICY
    assert message in failure.message


@pytest.mark.parametrize(
    "changes",
    [
        {"status": KeyStatus.UNTESTED},
        {"status": KeyStatus.DEGRADED},
        {"expires_at": NOW + timedelta(seconds=1)},
        {"allowed_models": ["gpt-4o"]},
        {"allowed_models": ["openai/gpt-4o"]},
    ],
)
def test_an_eligible_key_is_used(changes: dict[str, Any]) -> None:
    assert order(planned("openai/gpt-4o", key_facts("openai", **changes))) == ["key_1"]


def test_the_tier_limits_the_platforms_keys_and_never_own_keys() -> None:
    low = planned("claude-opus-4-5", platform_key("anthropic"), tier=Tier.STARTER)
    assert reasons(low)["key_p"] is _D.TIER_TOO_LOW
    assert "needs the tier enterprise; this tenant's is starter" in refused(low).message
    assert order(planned("claude-opus-4-5", platform_key("anthropic"), tier=Tier.ENTERPRISE)) == ["key_p"]
    assert order(planned("claude-opus-4-5", key_facts("anthropic"), tier=Tier.FREE)) == ["key_1"]


def test_a_bare_name_is_tried_at_every_provider_in_the_catalogs_order_and_priority_overrides_it() -> None:
    keys = [key_facts("openrouter", "key_or"), key_facts("anthropic", "key_an")]
    assert order(planned("claude-sonnet-4-5", *keys)) == ["key_an", "key_or"]
    keys[0] = keys[0].model_copy(update={"priority": 10})
    assert order(planned("claude-sonnet-4-5", *keys)) == ["key_or", "key_an"]


def test_a_degraded_key_comes_after_valid_ones_of_any_priority() -> None:
    short = key_facts("openai", "key_short", status=KeyStatus.DEGRADED, priority=1)
    assert order(planned("gpt-4o", short, key_facts("openai", "key_good"))) == ["key_good", "key_short"]


def test_keys_of_one_priority_share_by_weight_and_a_request_is_planned_deterministically() -> None:
    keys = [key_facts("openai", "key_a", weight=3), key_facts("openai", "key_b", weight=1)]
    firsts = Counter(order(planned("openai/gpt-4o", *keys, request_id=f"req_{n}"))[0] for n in range(2000))
    assert 0.70 < firsts["key_a"] / 2000 < 0.80
    assert order(planned("gpt-4o", *keys, request_id="req_1")) == order(planned("gpt-4o", *keys, request_id="req_1"))


@pytest.mark.parametrize(
    ("region", "upstream"),
    [
        ("eu-central-1", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("us-east-1", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("ap-south-1", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
    ],
)
def test_the_keys_region_chooses_the_offering(region: str, upstream: str) -> None:
    made = planned("claude-haiku-4-5", key_facts("bedrock", fields={"region": region}))
    assert [made.candidates[index].model for index in made.order] == [upstream]


def test_a_region_without_the_model_says_so() -> None:
    made = planned("nova-pro", key_facts("bedrock", fields={"region": "ap-south-1"}))
    assert reasons(made)["key_1"] is _D.KEY_ELSEWHERE
    assert "ap-south-1" in refused(made).message


def test_an_unlisted_model_needs_an_own_key_that_lists_it() -> None:
    tuned = "openai/ft:gpt-4o:acme::abc"
    listed = key_facts("openai", models=["ft:gpt-4o:acme::abc"])
    made = planned(tuned, listed, PLATFORM, policy=KeyPolicy.OWN_THEN_PLATFORM, allow_unapproved=True)
    assert order(made) == ["key_1"]
    assert made.candidates[made.order[0]].model == "ft:gpt-4o:acme::abc"
    assert reasons(made)["key_plat"] is _D.NOT_IN_CATALOG
    unlisted = refused(planned(tuned, key_facts("openai")))
    assert unlisted.failure_class is FailureClass.NOT_FOUND
    assert "did not list ft:gpt-4o:acme::abc" in unlisted.message
    assert refused(planned("openai/gpt-99", PLATFORM)).failure_class is FailureClass.NOT_FOUND


@pytest.mark.parametrize(
    ("model", "provider", "lists", "allowed", "reason"),
    [
        ("openai/ft:mine", "openai", ["ft:mine"], False, _D.UNAPPROVED),
        ("openai/ft:mine", "openai", ["ft:mine"], True, None),
        ("openai/ft:mine", "openai", [], False, _D.NOT_IN_CATALOG),
        ("openai/ft:mine", "openai", [], True, _D.NOT_IN_CATALOG),
        ("openai/gpt-4o", "openai", [], False, None),
        ("openrouter/some/new-model", "openrouter", ["some/new-model"], False, _D.UNAPPROVED),
        ("openrouter/some/new-model", "openrouter", ["some/new-model"], True, None),
        ("openrouter/auto", "openrouter", [], False, None),
        ("azure/our-prod-4o", "azure", [], False, None),
        ("vllm/llama", "vllm", [], False, None),
        ("ollama/llama", "ollama", [], False, None),
        ("llamacpp/llama", "llamacpp", [], False, None),
        ("custom/llama", "custom", [], False, None),
    ],
)
def test_models_outside_the_catalog_need_the_tenants_permission_except_on_its_own_servers(
    model: str, provider: str, lists: list[str], allowed: bool, reason: DropReason | None
) -> None:
    made = planned(model, key_facts(provider, models=lists), allow_unapproved=allowed)
    assert reasons(made) == {"key_1": reason}
    assert bool(made.order) == (reason is None)


def test_the_refusal_of_an_unapproved_model_explains_how_to_allow_it() -> None:
    failure = refused(planned("openai/ft:mine", key_facts("openai", models=["ft:mine"])))
    assert (failure.failure_class, failure.param) == (FailureClass.POLICY, "model")
    assert "keyferry tenants set acme --allow-unapproved" in failure.message


def test_an_own_endpoint_needs_no_approval() -> None:
    made = planned("house-model", endpoints=(endpoint("lab", "house-model"),))
    assert [made.candidates[index].endpoint for index in made.order] == ["lab"]


@pytest.mark.parametrize(
    ("model", "provider", "kind", "reason"),
    [
        ("gpt-4o", "openai", RequestKind.CHAT, None),
        ("gpt-4o", "azure", RequestKind.CHAT, _D.UNPRICED),
        ("openrouter/auto", "openrouter", RequestKind.CHAT, _D.UNPRICED),
        ("text-embedding-3-small", "openai", RequestKind.EMBEDDING, None),
        ("text-embedding-3-small", "openrouter", RequestKind.EMBEDDING, _D.UNPRICED),
        ("claude-opus-4-5", "anthropic", RequestKind.CHAT, None),
    ],
)
def test_the_platform_pays_only_for_priced_models_and_a_tenant_for_any(
    model: str, provider: str, kind: RequestKind, reason: DropReason | None
) -> None:
    theirs = planned(model, platform_key(provider), kind=kind)
    assert {candidate.key_id: candidate.reason for candidate in theirs.candidates if candidate.key_id} == {
        "key_p": reason
    }
    assert order(planned(model, key_facts(provider), kind=kind)) == ["key_1"]


def test_the_refusal_of_an_unpriced_model_contains_the_remedies() -> None:
    failure = refused(planned("azure/gpt-4o", platform_key("azure")))
    assert failure.failure_class is FailureClass.POLICY
    assert "gpt-4o of Azure" in failure.message
    assert "`keyferry prices set`" in failure.message
    assert "own key" in failure.message


def test_a_provider_without_a_price_is_replaced_by_one_with() -> None:
    made = planned("gpt-4o", platform_key("azure", "key_az"), platform_key("openrouter", "key_or"))
    assert order(made) == ["key_or"]
    assert reasons(made)["key_az"] is _D.UNPRICED


@pytest.mark.parametrize("provider", ["custom", "vllm", "ollama", "llamacpp"])
def test_a_tenants_own_server_serves_any_model_name(provider: str) -> None:
    made = planned(f"{provider}/org/llama:8b", key_facts(provider))
    chosen = made.candidates[made.order[0]]
    assert (chosen.model, chosen.key_source) == ("org/llama:8b", KeySource.CUSTOM)


def test_azure_deployments_are_named_by_the_tenant() -> None:
    made = planned("azure/our-prod-4o", key_facts("azure"))
    assert [(made.candidates[i].model, made.candidates[i].key_source) for i in made.order] == [
        ("our-prod-4o", KeySource.BYOK)
    ]


def test_the_refusal_without_a_key_says_which_to_add() -> None:
    failure = refused(planned("claude-sonnet-4-5"))
    assert failure.failure_class is FailureClass.POLICY
    assert "keyferry keys add --provider anthropic --tenant acme`" in failure.message
    platform_only = refused(planned("openai/gpt-4o", policy=KeyPolicy.PLATFORM))
    assert "the platform has no key for OpenAI" in platform_only.message


def test_unknown_names_are_not_found() -> None:
    for name in ("gpt-99", "nobody/model"):
        assert refused(planned(name, OWN, PLATFORM)).failure_class is FailureClass.NOT_FOUND


def test_chat_and_embedding_models_are_not_interchangeable() -> None:
    keys = [key_facts("openai")]
    chat_of_vectors = refused(planned("text-embedding-3-small", *keys))
    assert (chat_of_vectors.failure_class, chat_of_vectors.param) == (FailureClass.BAD_REQUEST, "model")
    assert "/v1/embeddings" in chat_of_vectors.message
    vectors_of_chat = refused(planned("openai/gpt-4o", *keys, kind=RequestKind.EMBEDDING))
    assert vectors_of_chat.failure_class is FailureClass.BAD_REQUEST
    assert order(planned("text-embedding-3-small", *keys, kind=RequestKind.EMBEDDING)) == ["key_1"]


def endpoint(name: str, *models: str, enabled: bool = True) -> Endpoint:
    return Endpoint(tenant="acme", name=name, base_url="https://own.example/v1", models=list(models), enabled=enabled)


def test_an_own_endpoint_comes_first_and_the_platform_follows_only_if_allowed() -> None:
    lab = (endpoint("lab", "llama-3.3-70b"),)
    keys = [key_facts("groq"), platform_key("together")]
    made = planned("llama-3.3-70b", *keys, endpoints=lab, policy=KeyPolicy.OWN_THEN_PLATFORM)
    assert [made.candidates[i].endpoint or made.candidates[i].key_id for i in made.order] == ["lab", "key_1", "key_p"]
    alone = planned("llama-3.3-70b", platform_key("together"), endpoints=lab)
    assert [made.candidates[i].endpoint for i in alone.order] == ["lab"]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_request_that_names_an_endpoint_never_reaches_a_provider_of_that_name(enabled: bool) -> None:
    made = planned("openai/gpt-4o", OWN, endpoints=(endpoint("openai", enabled=enabled),))
    assert all(candidate.key_id is None for candidate in made.candidates)


def test_embeddings_of_an_endpoint_are_not_mixed_with_the_catalogs() -> None:
    lab = (endpoint("lab", "text-embedding-3-small"),)
    made = planned("text-embedding-3-small", OWN, endpoints=lab, kind=RequestKind.EMBEDDING)
    assert [made.candidates[index].endpoint for index in made.order] == ["lab"]


def failed_attempts(
    failure_class: FailureClass, key_id: str | None = "key_a", provider: str = "openai"
) -> FailedAttempt:
    failure = Failure(failure_class=failure_class, message="no")
    return FailedAttempt(attempt_id="att_1", provider=provider, model="gpt-4o", key_id=key_id, failure=failure)


@pytest.mark.parametrize("failure_class", [FailureClass.AUTH, FailureClass.QUOTA, FailureClass.RATE_LIMIT])
def test_a_failure_of_the_key_leads_to_the_next_key(failure_class: FailureClass) -> None:
    keys = [key_facts("openai", "key_a"), key_facts("openai", "key_b", priority=200)]
    made = planned("openai/gpt-4o", *keys, failed_attempts=[failed_attempts(failure_class)])
    assert order(made) == ["key_b"]
    assert reasons(made)["key_a"] is _D.ALREADY_TRIED


def test_a_key_without_a_lease_leads_to_the_next_key() -> None:
    keys = [key_facts("openai", "key_a"), key_facts("openai", "key_b", priority=200)]
    no_key = Failure(failure_class=FailureClass.UNAVAILABLE, message="the key was removed", where=Where.NOT_SENT)
    again = FailedAttempt(
        attempt_id="att_1", provider="openai", model="gpt-4o", key_id="key_a", failure=no_key, no_key=True
    )
    assert order(planned("openai/gpt-4o", *keys, failed_attempts=[again])) == ["key_b"]


@pytest.mark.parametrize("failure_class", [FailureClass.SERVER, FailureClass.OVERLOADED])
def test_a_failure_of_the_provider_leads_to_another_provider(failure_class: FailureClass) -> None:
    keys = [key_facts("openai", "key_a"), key_facts("openai", "key_b"), key_facts("openrouter", "key_or")]
    assert order(planned("gpt-4o", *keys, failed_attempts=[failed_attempts(failure_class)])) == ["key_or"]


def test_another_key_of_azure_is_another_server() -> None:
    keys = [key_facts("azure", "key_a"), key_facts("azure", "key_b")]
    again = failed_attempts(FailureClass.SERVER, provider="azure")
    assert order(planned("azure/gpt-4o", *keys, failed_attempts=[again])) == ["key_b"]


def test_a_failed_attempt_without_a_key_id_counts_for_all_keys() -> None:
    made = planned(
        "openai/gpt-4o", key_facts("openai", "key_a"), failed_attempts=[failed_attempts(FailureClass.AUTH, None)]
    )
    assert refused(made).failure_class is FailureClass.AUTH


def unhealthy(provider: str, model: str, seconds: float) -> dict[str, Health]:
    """Return the health of a provider's model, as it is called with acme's keys and with those of the platform."""
    until = NOW + timedelta(seconds=seconds)
    origin = f"https://{provider}.example"
    own = Target(provider=provider, model=model, origin=origin, tenant="acme")
    platform = Target(provider=provider, model=model, origin=origin, key_class=KeyClass.PLATFORM)
    return {
        target.key: Health(target=target, state=CircuitState.OPEN, reason="5 of 5 failed", until=until, changed_at=NOW)
        for target in (own, platform)
    }


def test_an_open_circuit_drops_all_keys_of_the_provider() -> None:
    keys = [key_facts("openai", "key_a"), key_facts("openai", "key_b"), key_facts("openrouter", "key_or")]
    made = planned("gpt-4o", *keys, health=unhealthy("openai", "gpt-4o", 9))
    assert order(made) == ["key_or"]
    alone = refused(planned("openai/gpt-4o", *keys, health=unhealthy("openai", "gpt-4o", 9)))
    assert (alone.failure_class, alone.retry_after_ms) == (FailureClass.UNAVAILABLE, 9000)


def test_a_half_open_probe_uses_the_first_payers_keys_and_never_puts_the_platform_first() -> None:
    half_open = unhealthy("openai", "gpt-4o", -1)
    own = [key_facts("anthropic", "key_x"), key_facts("openrouter", "key_or")]
    both = planned("gpt-4o", *own, PLATFORM, policy=KeyPolicy.OWN_THEN_PLATFORM, health=half_open, may_probe=True)
    assert order(both) == ["key_or", "key_plat"]
    firsts = planned("gpt-4o", key_facts("openai", "key_a"), *own, health=half_open, may_probe=True)
    assert order(firsts) == ["key_a", "key_or"]
    waiting = planned("gpt-4o", key_facts("openai", "key_a"), *own, health=half_open, may_probe=False)
    assert order(waiting) == ["key_or", "key_a"]


def test_the_health_of_another_tenants_azure_is_ignored() -> None:
    [own, platform] = unhealthy("azure", "gpt-4o", 9).values()
    theirs = own.model_copy(update={"target": own.target.model_copy(update={"tenant": "globex"})})
    others = {theirs.target.key: theirs, platform.target.key: platform}
    assert order(planned("azure/gpt-4o", key_facts("azure"), health=others)) == ["key_1"]
    assert order(planned("azure/gpt-4o", key_facts("azure"), health={own.target.key: own})) == []


def test_a_circuit_of_one_key_class_leaves_the_other_alone() -> None:
    [own, platform] = unhealthy("openai", "gpt-4o", 9).values()
    keys = [key_facts("openai", "key_a"), PLATFORM]
    policy = KeyPolicy.OWN_THEN_PLATFORM
    assert order(planned("openai/gpt-4o", *keys, policy=policy, health={own.target.key: own})) == ["key_plat"]
    assert order(planned("openai/gpt-4o", *keys, policy=policy, health={platform.target.key: platform})) == ["key_a"]


def cooling(key: KeyFacts, seconds: float, **changes: Any) -> dict[str, Health]:
    """Return the entry of a key that its provider asked to pause with gpt-4o."""
    class_ = KeyClass.PLATFORM if key.tenant == "platform" else KeyClass.OWN
    shared = Target(provider=key.provider, model="gpt-4o", origin=key.origin, key_class=class_)
    target = shared.of_key(key.key_id, key.tenant)
    health = Health(
        target=target,
        state=CircuitState.COOLING,
        reason="it answered with rate_limit and asked for a pause of 9 s",
        failure_class=FailureClass.RATE_LIMIT,
        until=NOW + timedelta(seconds=seconds),
        changed_at=NOW,
    )
    return {target.key: health.model_copy(update=changes)}


def test_a_cooling_key_leaves_other_keys_and_other_tenants_alone() -> None:
    first, second = key_facts("openai", "key_a"), key_facts("openai", "key_b", priority=200)
    health = cooling(first, 9)
    made = planned("openai/gpt-4o", first, second, health=health)
    assert order(made) == ["key_b"]
    assert reasons(made)["key_a"] is _D.KEY_COOLING
    theirs = key_facts("openai", "key_a", tenant="globex")
    assert order(planned("openai/gpt-4o", first, health=cooling(theirs, 9))) == ["key_a"]


def test_a_cooling_platform_key_is_skipped_for_every_tenant() -> None:
    other = platform_key("openai", "key_plat2", priority=200)
    assert order(planned("openai/gpt-4o", PLATFORM, other, health=cooling(PLATFORM, 9))) == ["key_plat2"]


def test_with_all_keys_cooling_the_refusal_is_a_429_that_says_when_the_first_recovers() -> None:
    first, second = key_facts("openai", "key_a"), key_facts("openai", "key_b")
    refusal = refused(planned("openai/gpt-4o", first, second, health=cooling(first, 9) | cooling(second, 4)))
    assert (refusal.failure_class, refusal.retry_after_ms) == (FailureClass.RATE_LIMIT, 4000)
    assert "asked for a pause" in refusal.message


def test_a_pause_that_no_server_can_have_asked_for_is_a_clock_that_jumped() -> None:
    """The longest cooling is ten minutes: an entry that is to hold for longer was written by another clock."""
    key = key_facts("openai", "key_a")
    assert order(planned("openai/gpt-4o", key, health=cooling(key, 600))) == []
    assert order(planned("openai/gpt-4o", key, health=cooling(key, 602))) == ["key_a"]
    assert order(planned("openai/gpt-4o", key, health=unhealthy("openai", "gpt-4o", 3600))) == ["key_a"]


def test_a_client_token_may_use_its_models_under_narrower_names() -> None:
    assert order(planned("openai/gpt-4o", OWN, allowed_models=["gpt-4o"])) == ["key_own"]
    wider = refused(planned("gpt-4o", OWN, allowed_models=["openai/gpt-4o"]))
    assert wider.failure_class is FailureClass.POLICY
    assert "may not use gpt-4o" in wider.message


def test_the_labels_of_platform_keys_are_not_shown() -> None:
    secretive = platform_key("openai", label="account of the boss", status=KeyStatus.INVALID)
    assert "boss" not in refused(planned("openai/gpt-4o", secretive)).message
    healthy = planned("openai/gpt-4o", platform_key("openai", label="account of the boss"))
    assert all("boss" not in candidate.detail for candidate in healthy.candidates)


def test_an_unknown_tenant_gets_nothing() -> None:
    index = KeyIndex()
    index.rebuild([OWN, PLATFORM])
    context = RoutingContext(
        None, (), NOW, catalog=catalog(), own_keys=index.of("acme"), platform_keys=index.of("platform")
    )
    made = plan(RouteRequest("acme", "gpt-4o"), context)
    assert refused(made).failure_class is FailureClass.POLICY
    assert all(candidate.key_id is None for candidate in made.candidates)


@pytest.mark.parametrize(
    ("model", "provider"), [("openai/ft:platforms-own", "openai"), ("custom/any", "custom"), ("ollama/any", "ollama")]
)
def test_the_platform_never_pays_for_a_model_outside_the_catalog(model: str, provider: str) -> None:
    """Not even for one that its key lists, or on a server of its own: nobody knows what it costs."""
    key = platform_key(provider, "key_plat", models=[model.partition("/")[2]])
    made = planned(model, key, policy=KeyPolicy.OWN_THEN_PLATFORM, allow_unapproved=True)
    assert reasons(made)["key_plat"] is DropReason.NOT_IN_CATALOG
    assert made.order == []


def test_a_probe_is_not_used_up_for_a_key_behind_another_payers() -> None:
    """The probe of a target is given once in a while: what another candidate answers must not take it."""
    asked: list[Target] = []

    def may_probe(target: Target) -> bool:
        asked.append(target)
        return True

    key = platform_key("openai", "key_plat")
    own = key_facts("openrouter", "key_own")
    target = Target(provider="openai", model="gpt-4o", origin="https://openai.example", key_class=KeyClass.PLATFORM)
    health = Health(target=target, state=CircuitState.OPEN, reason="5 of 5 failed", until=NOW, changed_at=NOW)
    both = planned(
        "gpt-4o", own, key, policy=KeyPolicy.OWN_THEN_PLATFORM, health={target.key: health}, may_probe=may_probe
    )
    assert (order(both), asked) == (["key_own", "key_plat"], [])
    alone = planned("gpt-4o", key, policy=KeyPolicy.OWN_THEN_PLATFORM, health={target.key: health}, may_probe=may_probe)
    assert (order(alone), asked) == (["key_plat"], [target])


@pytest.mark.parametrize(
    ("byok", "switch"),
    [
        (ByokUse.OFF, ByokSwitch()),
        (ByokUse.OFF, ByokSwitch(tenants=frozenset({"acme"}))),
        (ByokUse.DEFAULT, ByokSwitch(tenants=frozenset({"globex"}))),
        (ByokUse.DEFAULT, ByokSwitch(enabled=False)),
        (ByokUse.ON, ByokSwitch(enabled=False)),
    ],
)
def test_own_keys_that_are_switched_off_are_paused_and_cost_no_credits_instead(
    byok: ByokUse, switch: ByokSwitch
) -> None:
    alone = planned("gpt-4o-mini", OWN, PLATFORM, byok=byok, switch=switch)
    assert reasons(alone) == {"key_own": DropReason.KEY_PAUSED, "key_plat": DropReason.KEY_POLICY} | {
        key: reason for key, reason in reasons(alone).items() if key is None
    }
    paused = next(candidate for candidate in alone.candidates if candidate.key_id == "key_own")
    assert "switched off for acme" in str(paused.detail)
    assert "switched off for acme" in refused(alone).message
    consenting = KeyPolicy.OWN_THEN_PLATFORM
    assert order(planned("gpt-4o-mini", OWN, PLATFORM, policy=consenting, byok=byok, switch=switch)) == ["key_plat"]


def test_a_tenant_that_is_switched_on_needs_no_entry_in_the_list() -> None:
    for switch in (ByokSwitch(), ByokSwitch(tenants=frozenset({"globex"}))):
        assert order(planned("gpt-4o-mini", OWN, PLATFORM, byok=ByokUse.ON, switch=switch)) == ["key_own"]
