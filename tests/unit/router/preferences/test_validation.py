"""What must not be saved as preferences, with the way out, and what may."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.preferences import GivenPreferences, SavedPreferences, SavePreferences
from keyferry.contracts.route import Endpoint
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import ChainStep, Rule, RuleConditions, RuleSet
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import KeyIndex
from services.router.preferences.validation import InvalidPreferences, check_preferences
from services.router.rules.matching import RuleIndex
from tests.support.router.keys_and_prices import at_own_address, catalog, key_facts, list_price, platform_key
from tests.support.router.saved_preferences import saved

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OPENAI, MISTRAL = platform_key("openai", "key_openai"), at_own_address(platform_key("mistral", "key_mistral"))
ANTHROPIC = platform_key("anthropic", "key_anthropic")
LAB = Endpoint(tenant="acme", name="lab", base_url="http://localhost:1/v1", models=["llama"])


def check(
    preferences: dict[str, Any],
    *stored: SavedPreferences,
    keys: tuple[KeyFacts, ...] = (OPENAI, MISTRAL),
    endpoints: tuple[Endpoint, ...] = (),
    policy: KeyPolicy | None = None,
    rules: tuple[Rule, ...] = (),
    **scope: Any,
) -> None:
    published = RuleSetVersion(
        tenant="acme", version=1, rule_set=RuleSet(rules=list(rules)), actor="operator", published_at=NOW
    )
    index, rule_index = KeyIndex(), RuleIndex()
    rule_index.replace("acme", [published])
    index.rebuild(keys)

    def context_of(tenant: str) -> RoutingContext:
        return RoutingContext(
            Tenant(tenant=tenant, name=tenant, tier=Tier.ENTERPRISE, key_policy=policy),
            [each for each in endpoints if each.tenant == tenant],
            NOW,
            catalog=catalog(),
            own_keys=index.of(tenant),
            platform_keys=index.of("platform"),
            own_servers=index.servers_of(tenant),
            prices=list_price,
            rules=rule_index.of(tenant),
        )

    command = SavePreferences(**({"tenant": "acme"} | scope), preferences=GivenPreferences.model_validate(preferences))
    check_preferences(command, stored, context_of)


def fault(preferences: dict[str, Any], *stored: SavedPreferences, **facts: Any) -> str:
    with pytest.raises(InvalidPreferences) as refused:
        check(preferences, *stored, **facts)
    return str(refused.value)


# --- names


def test_an_unknown_model_is_refused_with_what_was_probably_meant() -> None:
    assert "Did you mean gpt-4o" in fault({"default_model": "gpt-4oo"})
    message = fault({"model_by_operation": {"research": "nothing"}, "fallback_models": ["nothing-else"]})
    assert "model_by_operation.research: there is no model nothing." in message
    assert "fallback_models: there is no model nothing-else." in message


def test_models_of_own_endpoints_keys_and_servers_are_known() -> None:
    check({"default_model": "llama", "fallback_models": ["lab/other"]}, endpoints=(LAB,))
    assert "there is no model llama" in fault({"default_model": "llama"})
    server = key_facts("vllm", "key_server", name="gpu", models=["m"])
    check({"default_model": "gpu/m", "default_provider": "gpu"}, keys=(server,))


def test_a_model_without_a_key_may_be_named_where_nothing_gets_worse() -> None:
    check({"model_by_operation": {"research": "claude-haiku-4-5"}}, keys=())
    check({"fallback_models": ["claude-haiku-4-5"]})


def test_a_virtual_model_is_no_model() -> None:
    for name in ("eco", "auto", "default"):
        assert "set power_level, or name a model" in fault({"default_model": name})


def test_an_embedding_model_may_serve_an_operation_and_no_chats() -> None:
    check({"model_by_operation": {"embedding": "text-embedding-3-small"}})
    assert "name it for an operation" in fault({"default_model": "text-embedding-3-small"})
    assert "makes embeddings" in fault({"fallback_models": ["mistral-embed"]})


def test_an_unknown_provider_is_refused_with_what_was_probably_meant() -> None:
    assert fault({"default_provider": "opnai"}) == "default_provider: there is no provider opnai. Did you mean openai?"
    check({"default_provider": "lab", "fallback_provider": "openai"}, endpoints=(LAB,))


# --- values that contradict each other


def test_a_fallback_that_changes_nothing_is_refused() -> None:
    assert "gpt-4o is the default model already" in fault({"default_model": "gpt-4o", "fallback_models": ["gpt-4o"]})
    assert "gpt-4o is the default model already" in fault(
        {"fallback_models": ["gpt-4o"]}, saved(default_model="gpt-4o"), team="a"
    )
    assert "openai is the default provider already" in fault(
        {"default_provider": "openai", "fallback_provider": "openai"}
    )
    assert "gpt-4o is named twice" in fault({"fallback_models": ["gpt-4o", "gpt-4o"]})
    check({"temperature": 1.0}, saved(default_model="gpt-4o"), team="a")


def test_the_tokens_that_are_added_must_be_allowed() -> None:
    assert "more than a request may have" in fault({"max_tokens": 2000, "max_tokens_per_request": 1000})
    assert "more than a request may have" in fault({"max_tokens": 2000}, saved(max_tokens_per_request=1000), member="a")


def test_a_site_url_must_not_hold_a_secret() -> None:
    assert "it is sent to OpenRouter" in fault({"openrouter_site_url": "https://user:pass@example.com"})


# --- routing modes


def test_a_mode_that_the_key_policy_forbids_is_refused_with_the_way_out() -> None:
    message = fault({"mode": "platform"}, policy=KeyPolicy.OWN)
    assert "`keyferry tenants set acme --keys own-then-platform`" in message
    assert "choose byok or custom" in message
    assert "mode_by_operation.research: the platform's keys may not pay" in fault(
        {"mode_by_operation": {"research": "platform"}}, policy=KeyPolicy.OWN, keys=(key_facts("openai"),)
    )
    assert "`keyferry tenants set acme --keys own`" in fault({"mode": "byok"}, policy=KeyPolicy.PLATFORM)


def test_a_mode_without_anything_that_could_serve_it_is_refused() -> None:
    assert "`keyferry keys add --tenant acme`" in fault({"mode": "byok"})
    check({"mode": "byok"}, policy=KeyPolicy.OWN_THEN_PLATFORM)
    check({"mode": "byok"}, keys=(key_facts("openai"),))
    assert "`keyferry endpoints add --tenant acme`" in fault({"mode": "custom"})
    assert "has no endpoint" in fault({"mode": "custom"}, endpoints=(LAB.model_copy(update={"enabled": False}),))
    check({"mode": "custom"}, endpoints=(LAB,))
    assert "set custom for a tenant" in fault({"mode": "custom"}, tenant="platform")


# --- residency


def test_an_eu_only_tenant_cannot_save_a_model_that_is_not_there() -> None:
    message = fault({"eu_only": True, "default_model": "gpt-4o"})
    assert "default_model: gpt-4o has no offering inside the European Union; these have one: " in message
    remaining = message.partition("these have one: ")[2]
    assert "claude-" in remaining
    assert "gpt-4o" not in remaining
    assert "gpt-4o has no offering" in fault({"default_model": "gpt-4o"}, saved(eu_only=True), client_token_id="tok_1")
    check({"eu_only": True, "default_model": "mistral-small", "fallback_models": ["claude-haiku-4-5"]})
    check({"eu_only": True, "default_model": "llama"}, endpoints=(LAB.model_copy(update={"eu": True}),))
    assert "llama has no offering" in fault({"eu_only": True, "default_model": "llama"}, endpoints=(LAB,))


def test_a_tenant_with_other_models_saved_cannot_become_eu_only_and_each_is_named() -> None:
    message = fault(
        {"eu_only": True},
        saved("team", default_model="gpt-4o"),
        saved("client_token", model_by_operation={"research": "gpt-4.1"}),
        saved("member", default_model="mistral-small"),
    )
    assert "team support, default_model: gpt-4o has no offering" in message
    assert "client token tok_1, model_by_operation.research: gpt-4.1 has no offering" in message
    assert "mistral-small has no" not in message


def test_an_installation_becomes_eu_only_if_no_tenant_has_another_model() -> None:
    other = saved(default_model="gpt-4o")
    message = fault({"eu_only": True}, other, tenant="platform")
    assert "tenant acme, default_model: gpt-4o has no offering" in message
    check({"eu_only": True}, saved(default_model="mistral-small"), tenant="platform")


def test_teams_of_two_tenants_may_have_the_same_name() -> None:
    theirs = saved("team", default_model="gpt-4o").model_copy(update={"tenant": "other"})
    mine = saved("team", default_model="mistral-small")
    assert "team support, default_model: gpt-4o has" in fault({"eu_only": True}, theirs, mine, tenant="platform")
    check({"eu_only": True}, mine)


def test_residency_is_given_up_only_where_it_is_required() -> None:
    message = fault({"eu_only": False}, saved(eu_only=True), team="support")
    assert message == "eu_only: it is true for acme, and no narrower scope can make it false; leave it out here"
    check({"eu_only": False}, saved(eu_only=True))


# --- what remains


def test_no_operation_of_a_rule_is_left_without_a_model() -> None:
    rule = Rule(name="abroad", when=RuleConditions(operation=["research"]), chain=[ChainStep(model="gpt-4o")])
    message = fault({"eu_only": True}, rules=(rule,))
    assert "this would leave the operation research of tenant acme without a model" in message
    check({"temperature": 0.5}, rules=(rule,))
    of_team = Rule(name="abroad", when=RuleConditions(team=["support"]), chain=[ChainStep(model="gpt-4o")])
    message = fault({"eu_only": True}, rules=(of_team,), team="support")
    assert "requests without an operation of team support without a model" in message
    check({"eu_only": True}, rules=(of_team,), team="sales")


def test_an_own_server_that_is_stated_to_be_in_the_eu_may_be_the_default_there() -> None:
    server = key_facts("vllm", "key_server", name="gpu", models=["m"])
    wanted = {"default_model": "gpu/m", "eu_only": True}
    assert "gpu/m has no offering inside the European Union" in fault(wanted, keys=(server,))
    stated = server.model_copy(update={"fields": {"processed_in": "eu"}})
    check(wanted, keys=(stated,))
    other = server.model_copy(update={"key_id": "key_other", "name": "far"})
    message = fault({**wanted, "default_model": "far/m"}, keys=(stated, other))
    assert "far/m has no offering inside the European Union; these have one: gpu/m, " in message


def test_no_operation_is_left_without_a_model() -> None:
    message = fault({"eu_only": True}, keys=(ANTHROPIC,))
    assert "this would leave requests without an operation of tenant acme without a model: " in message
    assert "European Union" in message
    check({"eu_only": True}, keys=(ANTHROPIC, MISTRAL))
    check({"eu_only": True}, keys=())  # there was none before
    own = key_facts("groq", "key_own")
    byok = {"mode_by_operation": {"research": "byok"}}
    check(byok, keys=(OPENAI, own))
    switched_off = own.model_copy(update={"status": KeyStatus.DISABLED})
    assert "the operation research" in fault(byok, keys=(OPENAI, switched_off))


def test_a_scope_of_the_tenant_is_not_left_without_a_model_either() -> None:
    team = saved("team", mode="custom")
    lab = (LAB,)
    check({"temperature": 0.5}, team, endpoints=lab)
    message = fault({"eu_only": True}, team, endpoints=lab)
    assert "requests without an operation of team support without a model" in message


# --- form


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "mixed"),
        ("power_level", "max"),
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", "1"),
        ("temperature", True),
        ("max_tokens", 99),
        ("max_tokens", 128_001),
        ("max_tokens", 10**400),
        ("max_tokens", 500.5),
        ("max_tokens", "500"),
        ("max_tokens_per_request", 50),
        ("eu_only", "yes"),
        ("eu_only", 1),
        ("cost_optimization", "on"),
        ("allowed_regions", []),
        ("allowed_regions", ["EU"]),
        ("fallback_models", ["m"] * 11),
        ("model_by_operation", {"a b": "gpt-4o"}),
        ("model_by_operation", {f"o{number}": "gpt-4o" for number in range(101)}),
        ("openrouter_site_url", "example.com"),
        ("openrouter_site_url", "javascript:alert(1)"),
        ("unknown", 1),
    ],
)
def test_values_of_another_form_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        GivenPreferences.model_validate({field: value})


@pytest.mark.parametrize(
    "values", [{"max_tokens": 100}, {"max_tokens": 128_000}, {"temperature": 0}, {"temperature": 2}]
)
def test_the_bounds_are_included(values: dict[str, Any]) -> None:
    check(values)


TEXTS: dict[str, Callable[[str], Any]] = {
    "default_model": lambda text: text,
    "default_provider": lambda text: text,
    "fallback_provider": lambda text: text,
    "preferred_models": lambda text: [text],
    "fallback_models": lambda text: [text],
    "model_by_operation": lambda text: {"research": text},
    "mode_by_operation": lambda text: {text: "byok"},
    "allowed_regions": lambda text: [text],
    "openrouter_site_url": lambda text: f"https://{text}",
    "openrouter_site_name": lambda text: text,
}
"""Every preference that is a text, with a value that holds one."""
HOSTILE = ["a\x00b", "a\nb", "a\x1b[31m", "\ud800", "a\u202eb", "é" * 5, "x" * 5000, "", "sk-proj-" + "aB3dE6gH9j" * 5]


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_is_refused_in_every_field(field: str, text: str) -> None:
    if (field, text) in (("openrouter_site_url", ""), ("openrouter_site_name", "")):
        text = " "
    with pytest.raises(ValidationError):
        GivenPreferences.model_validate({field: TEXTS[field](text)})


def test_every_text_of_the_contract_is_among_those() -> None:
    texts = set(GivenPreferences.model_fields) - {
        "mode", "temperature", "max_tokens", "max_tokens_per_request", "eu_only", "power_level", "cost_optimization",
        "auto_provider_switch", "fallback_on_content_filter", "fallback_after_possible_charge", "fallback_chain",
        "learned_quality",
    }  # fmt: skip
    assert texts == TEXTS.keys()


@pytest.mark.parametrize("scope", [{"team": "a", "member": "b"}, {"tenant": "platform", "team": "a"}, {"team": "a b"}])
def test_preferences_are_saved_in_one_scope(scope: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SavePreferences(**({"tenant": "acme"} | scope), preferences=GivenPreferences())
