"""What is wrong with a rule set in an installation is found, each with the way out."""

import re
from dataclasses import replace
from typing import Any

import pytest

from keyferry.contracts.past_decisions import PastDecision
from keyferry.contracts.route import Endpoint
from keyferry.contracts.rules import RuleFinding
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import RequestKind
from keyferry.tiers.file import BUNDLED_TIERS, Tiers
from services.router.planning.context import RoutingContext
from services.router.preferences.effective import EffectivePreferences
from services.router.rules.checks import (
    CheckContext,
    check_embeddings,
    check_facts,
    check_past,
    check_preferred,
    check_tier,
)
from services.router.rules.dry_run import replan
from services.router.rules.matching import CompiledRules, TenantRules
from tests.support.router.catalog_edits import Operator
from tests.support.router.keys_and_prices import catalog, key_facts, platform_key
from tests.support.router.retired import context_with
from tests.support.router.rule_sets import ACME, PUBLISHED_AT, published, routing_context, rule, rule_set, tenant_rules

LAB = Endpoint(tenant="acme", name="lab", base_url="https://llm.example/v1", models=["llama"])


def facts(rules: Any, context: RoutingContext, owner: str = "acme") -> CheckContext:
    compiled = CompiledRules(published(rules, owner))
    applied = TenantRules(None, compiled) if owner == "platform" else TenantRules(compiled, None)
    return CheckContext(owner, context, {"acme", "globex"}, {"code", "chat", "x"}, applied)


def find(
    *rules: dict[str, Any], context: RoutingContext | None = None, owner: str = "acme"
) -> list[tuple[str, bool, str]]:
    given = rule_set(*rules)
    found = facts(given, routing_context() if context is None else context, owner)
    steps = [step for step in check_facts(given, found) if isinstance(step, RuleFinding)]
    return [(step.code.value, step.fault, step.detail) for step in steps]


def test_rules_that_can_be_answered_have_no_findings() -> None:
    lab = replace(routing_context(), endpoints=(LAB,))
    assert (
        find(
            rule("a", [{"model": "gpt-4o"}, {"model": "claude-haiku-4-5", "provider": "anthropic"}], operation="code"),
            rule("b", "default", model=["gpt-*", "gpt-4o"]),
            rule("c", "llama", tag="x"),
            rule("d", [{"model": "anything", "provider": "lab"}], team="t"),
            rule("e", "text-embedding-3-small", kind="embedding"),
            rule("f", "echo", team="u"),
            rule("off", "nonsense", enabled=False, operation="nonsense"),
            context=lab,
        )
        == []
    )


@pytest.mark.parametrize(
    ("given", "code", "fault", "text"),
    [
        (rule("r", "gpt-4oo", operation="x"), "unknown_model", True, "names gpt-4oo, .* did you mean gpt-4o"),
        (rule("r", [{"model": "x", "provider": "opnai"}], operation="x"), "unknown_provider", True, "did you mean openai"),
        (rule("r", [{"model": "claude-haiku-4-5", "provider": "groq"}], operation="x"), "unknown_model", True, "groq/claude"),
        (rule("r", "openai/unlisted", operation="x"), "unknown_model", True, "openai/unlisted"),
        (rule("r", "grok-4", operation="x"), "no_callable_model", True, "would be refused .*add a key"),
        (rule("r", "text-embedding-3-small", operation="x", kind="chat"), "no_callable_model", True, "would be refused"),
        (rule("r", "gpt-4o", model="text-embedding-3-small", kind="chat"), "matches_nothing", True, "correct `kind` or `model`"),
        (rule("r", "gpt-4o", operation="cod"), "unknown_operation", False, "did you mean code"),
        (rule("r", "gpt-4o", model="gpt-4oo"), "unknown_model", False, "requests that name it match all the same"),
        (rule("r", "gpt-4o", model="zzz*"), "unknown_model", False, "nothing has a name like it"),
    ],
)  # fmt: skip
def test_each_finding_says_what_to_do(given: dict[str, Any], code: str, fault: bool, text: str) -> None:
    ((found, prevents, detail),) = find(given)
    assert (found, prevents) == (code, fault)
    assert re.search(text, detail), detail


def test_a_rule_that_shares_a_condition_with_an_earlier_one_is_checked_too() -> None:
    """The first value of its condition is matched by the rule before it: the others are its own."""
    ((code, fault, detail),) = find(rule("a", "gpt-4o", operation="code"), rule("b", "grok-4", operation=["code", "x"]))
    assert (code, fault) == ("no_callable_model", True)
    assert "--provider xai" in detail


def test_a_model_under_two_of_its_names_is_a_loop() -> None:
    alias, model = next((model.aliases[0], model.id) for model in catalog() if model.aliases)
    found = find(rule("r", [{"model": model}, {"model": alias}], operation="x"))
    assert ("loop", True) in [(code, fault) for code, fault, _ in found]
    assert any(f"step 2 of its chain names {alias}, which is {model} of step 1" in detail for _, _, detail in found)
    pinned = [{"model": "gpt-4o", "provider": "openai"}, {"model": "gpt-4o"}]
    assert find(rule("r", pinned, operation="x")) == [], "first there, then anywhere"


def test_a_retired_model_is_named_with_what_replaces_it() -> None:
    operator = Operator()
    operator.retire("second", "third")
    context = context_with(operator.editor.catalog, key_facts("openai"))
    ((code, fault, detail),) = find(rule("r", "second", operation="x"), context=context)
    assert (code, fault) == ("unknown_model", True)
    assert "the operator has retired the model second: use third" in detail


def test_an_unknown_tenant_of_a_platform_rule_is_a_fault() -> None:
    platform = routing_context(keys=[platform_key("openai")], tenant=None)
    good = rule("r", "gpt-4o", tenant="globex", tier="free")
    assert [code for code, fault, _ in find(good, context=platform, owner="platform") if fault] == []
    ((code, fault, detail),) = find(rule("r", "gpt-4o", tenant="glbex"), context=platform, owner="platform")
    assert (code, fault) == ("unknown_tenant", True)
    assert "did you mean globex?" in detail


def test_what_a_platform_rule_names_has_to_be_in_the_catalog() -> None:
    own = replace(routing_context(keys=[key_facts("openai", models=["mine"])], tenant=None), endpoints=(LAB,))
    for name in ("llama", "openai/mine", "lab/llama"):
        ((code, fault, _),) = find(rule("r", name, operation="x"), context=own, owner="platform")
        assert (code, fault) == ("unknown_model", True)


def test_a_platform_rule_without_a_platform_key_is_a_warning() -> None:
    """Tenants with keys of their own can still use it."""
    platform = routing_context(keys=[], tenant=None)
    ((code, fault, _),) = find(rule("r", "gpt-4o", operation="x"), context=platform, owner="platform")
    assert (code, fault) == ("no_callable_model", False)


def test_a_tier_without_rules_keeps_them_and_does_not_count_them() -> None:
    tiers = Tiers.parse(BUNDLED_TIERS.read_text(encoding="utf-8"))
    starter = ACME.model_copy(update={"tier": Tier.STARTER})
    context = replace(routing_context(tenant=starter), tiers=tiers)
    ((finding),) = check_tier(facts(rule_set(), context))
    assert finding.fault
    assert "upgrade to professional (`keyferry tenants update acme --tier professional`)" in finding.detail
    assert list(check_tier(facts(rule_set(), replace(context, tenant=ACME)))) == []
    assert list(check_tier(facts(rule_set(), context, "platform"))) == []


def past(
    request_id: str,
    operation: str | None,
    model: str = "gpt-4o",
    kind: RequestKind = RequestKind.CHAT,
    tenant: str = "acme",
) -> PastDecision:
    return PastDecision(
        decision_id=f"dec_{request_id}",
        request_id=request_id,
        tenant=tenant,
        decided_at=PUBLISHED_AT,
        model_asked=model,
        operation=operation,
        kind=kind,
    )


def test_an_operation_must_not_lose_its_model() -> None:
    context = routing_context(rule("none-yet", "gpt-4o", operation="other"))
    draft = tenant_rules(
        rule("bad", "grok-4", operation="code"), rule("some", "grok-4", operation="chat", model="gpt-4o-mini")
    )
    requests = [
        past("r1", "code"),
        past("r2", "code"),
        past("r3", "chat"),
        past("r4", "chat", "gpt-4o-mini"),
        past("r5", None),
    ]
    found = list(check_past([replan(request, context, draft, None) for request in requests]))
    assert [(finding.fault, finding.rule) for finding in found] == [(True, "bad"), (False, "some")]
    assert found[0].detail.startswith("it would leave requests of the operation code without a model: ")
    assert found[1].detail.startswith("1 of 2 past requests of the operation chat would be refused, such as r4: ")
    without = list(check_past([replan(past("r7", "other", "nonsense"), context, None, None)]))
    assert [(finding.fault, finding.rule) for finding in without] == [(True, None)]
    assert without[0].detail.endswith("keep a rule for them, since they name nonsense")
    refused_already = replan(past("r6", "code", "nonsense"), context, draft, None)
    assert list(check_past([refused_already])) == []


def test_a_rule_of_the_platform_must_leave_no_tenants_operation_without_a_model() -> None:
    rules = (rule("all", "claude-haiku-4-5", operation="code"),)
    draft = tenant_rules(platform=rules)
    both = routing_context()
    only_openai = routing_context(keys=[key_facts("openai")])
    results = [
        replan(past("r1", "code"), both, draft, None),
        replan(past("r2", "code", tenant="globex"), only_openai, draft, None),
    ]
    (finding,) = check_past(results)
    assert (finding.fault, finding.rule) == (True, "all")
    assert finding.detail.startswith(
        "it would leave requests of the operation code of the tenant globex without a model: "
    )


def test_embeddings_must_not_lose_their_model_though_chats_keep_one() -> None:
    draft = tenant_rules(rule("rest", "gpt-4o", default=True))
    requests = [past("r1", None), past("r2", None, "text-embedding-3-small", RequestKind.EMBEDDING)]
    (finding,) = check_past([replan(request, routing_context(), draft, None) for request in requests])
    assert (finding.fault, finding.rule) == (True, "rest")
    assert finding.detail.startswith("it would leave embeddings without an operation without a model: ")


def test_embeddings_of_another_model_are_a_warning() -> None:
    large = past("r1", None, "text-embedding-3-large", RequestKind.EMBEDDING)
    chat = past("r2", None, "claude-haiku-4-5")
    for model, named in (("default", True), ("text-embedding-3-large", False)):
        draft = tenant_rules(rule("rest", model, default=True))
        found = list(check_embeddings([replan(each, routing_context(), draft, None) for each in (large, chat)]))
        assert [(each.code.value, each.fault, each.rule) for each in found] == (
            [("other_embeddings", False, "rest")] if named else []
        )
        assert all(
            "r1 by openai/text-embedding-3-small in place of openai/text-embedding-3-large" in each.detail
            for each in found
        )


def test_an_operation_of_the_preferences_must_not_lose_its_model() -> None:
    preferences = EffectivePreferences(model_by_operation={"code": "gpt-4o", "chat": "gpt-4o"})
    context = replace(routing_context(), preferences=lambda request: preferences)
    rules = rule_set(rule("bad", "grok-4", operation="code"))
    (finding,) = [each for each in check_preferred(facts(rules, context)) if each is not None]
    assert (finding.code, finding.fault, finding.rule) == ("operation_without_model", True, "bad")
    assert "the operation code of the preferences" in finding.detail
