"""The first rule that matches decides, whatever the index files it under; and the chain says where it comes from."""

from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.rule_checks import check_rule_set, given_conditions
from keyferry.contracts.rules import FindingCode, RuleConditions
from services.router.rules.matching import CompiledRules, RuleFacts, RuleIndex
from tests.support.router.rule_sets import published, rule, rule_set, split, tenant_rules

FACTS = RuleFacts(seed="req_1", tenant="acme", models=("gpt-5",), kind="chat")


def facts(**changes: Any) -> RuleFacts:
    return RuleFacts(**({name: getattr(FACTS, name) for name in FACTS.__slots__} | changes))


def chosen(rules: Any, **changes: Any) -> str | None:
    chain = rules.choose(facts(**changes))
    return None if chain is None else chain.models[0].name


def test_each_condition_is_compared_with_its_fact() -> None:
    for condition, value, matching, other in (
        ("operation", "code", {"operation": "code"}, {"operation": "chat"}),
        ("tag", "beta", {"tags": {"beta": "no"}}, {"tags": {"alpha": "beta"}}),
        ("tag", "team=search", {"tags": {"team": "search"}}, {"tags": {"team": "sales"}}),
        ("tag", "team=", {"tags": {"team": ""}}, {"tags": {"team": "x"}}),
        ("model", "gpt-5", {"models": ("gpt-5",)}, {"models": ("gpt-5-mini",)}),
        ("model", "gpt-*", {"models": ("gpt-",)}, {"models": ("gp",)}),
        ("model", "gpt-5", {"models": ("alias", "gpt-5")}, {"models": ("alias",)}),
        ("power_level", "eco", {"power_level": "eco"}, {"power_level": None}),
        ("kind", "embedding", {"kind": "embedding"}, {"kind": "chat"}),
        ("team", "red", {"team": "red"}, {"team": None}),
    ):
        rules = tenant_rules(rule("r", "m", **{condition: value}))
        assert chosen(rules, **matching) == "m", (condition, value)
        assert chosen(rules, **other) is None, (condition, value)


def test_conditions_are_all_of_and_their_values_any_of() -> None:
    rules = tenant_rules(rule("r", "m", operation=["a", "b"], model=["x", "y*"]))
    assert chosen(rules, operation="b", models=("yes",)) == "m"
    assert chosen(rules, operation="b", models=("no",)) is None
    assert chosen(rules, operation="c", models=("x",)) is None


def test_the_first_match_wins_and_the_tenants_own_rules_come_first() -> None:
    rules = tenant_rules(
        rule("first", "one", model="gpt-*"),
        rule("second", "two", operation="code"),
        platform=(rule("third", "three", tenant="acme", operation="chat"), rule("rest", "four", default=True)),
    )
    assert chosen(rules, operation="code") == "one"
    assert chosen(rules, operation="code", models=("o1",)) == "two"
    assert chosen(rules, operation="chat", models=("o1",)) == "three"
    assert chosen(rules, operation="chat", models=("o1",), tenant="other") == "four"


def test_a_disabled_rule_is_passed_over() -> None:
    assert chosen(tenant_rules(rule("off", "m", enabled=False, operation="x")), operation="x") is None


def test_the_chain_names_version_rule_step_and_share() -> None:
    steps = [split(gpt_5=90, gpt_5_mini=10), {"model": "claude", "provider": "bedrock"}, {"power_level": "eco"}]
    rules = tenant_rules(rule("canary", steps, operation="x", fallback=False))
    by_first = {}
    for number in range(64):
        chain = rules.choose(facts(operation="x", seed=f"c{number}"))
        assert chain is not None
        by_first[chain.models[0].name] = chain
    chain = by_first["gpt-5-mini"]
    assert [(model.name, model.detail, model.virtual) for model in chain.models] == [
        ("gpt-5-mini", "rule canary of version 7: 10 % share gpt-5-mini", False),
        ("gpt-5", "rule canary of version 7: step 1, after its share gpt-5-mini", False),
        ("bedrock/claude", "rule canary of version 7: step 2", False),
        ("eco", "rule canary of version 7: step 3", True),
    ]
    assert chain.fallback is False
    applied = chain.applied
    assert (applied.owner, applied.version, applied.rule) == ("acme", 7, "canary")
    assert [(step.step, step.model, step.weight, step.total_weight) for step in applied.steps] == [
        (1, "gpt-5-mini", 10, 100),
        (1, "gpt-5", 90, 100),
        (2, "bedrock/claude", None, None),
        (3, "eco", None, None),
    ]
    assert [model.name for model in by_first["gpt-5"].models][:2] == ["gpt-5", "gpt-5-mini"]


def test_a_platform_rule_says_whose_it_is() -> None:
    chain = tenant_rules(platform=(rule("all", "m", default=True),)).choose(FACTS)
    assert chain is not None
    assert chain.models[0].detail == "rule all of the platform's version 3: step 1"


def test_the_index_keeps_what_did_not_change() -> None:
    index = RuleIndex()
    own, other = published(rule_set(rule("a", "m", operation="x"))), published(rule_set(), "other", 1)
    index.replace("acme", [own])
    index.replace("other", [other])
    assert index.of("third") is None
    assert index.of("other") is None
    kept = index.of("acme")
    index.replace("other", [other.model_copy(update={"version": 2})])
    index.replace("acme", [own.model_copy()])
    assert index.of("acme") is kept
    index.replace("platform", [published(rule_set(rule("p", "n", operation="x")), "platform", 1)])
    assert index.of("acme") is not kept
    assert chosen(index.of("acme"), operation="x") == "m"
    assert chosen(index.of("third"), operation="x", tenant="third") == "n"
    assert chosen(index.of("other"), operation="x", tenant="other") == "n"
    assert index.published("acme") == own
    assert index.published("third") is None
    index.replace("acme", [])
    assert chosen(index.of("acme"), operation="x") == "n"
    index.replace("platform", [])
    assert index.of("acme") is None


VALUES: dict[str, list[str]] = {
    "operation": ["a", "b"],
    "tag": ["t", "t=1", "u=2"],
    "model": ["gpt-5", "gpt-*", "g*", "o1"],
    "power_level": ["eco", "precision"],
    "kind": ["chat"],
    "team": ["red", "blue"],
    "tier": ["free", "starter"],
    "tenant": ["acme", "other"],
}
CONDITIONS = st.fixed_dictionaries(
    {}, optional={name: st.lists(st.sampled_from(values), min_size=1, max_size=2) for name, values in VALUES.items()}
)
REQUESTS = st.builds(
    RuleFacts,
    seed=st.just("s"),
    tenant=st.sampled_from(["acme", "other"]),
    models=st.sampled_from([("gpt-5",), ("gpt-5-mini",), ("alias", "o1"), ("",)]),
    kind=st.sampled_from(["chat", "embedding"]),
    operation=st.sampled_from([None, "a", "b", "c"]),
    tags=st.dictionaries(st.sampled_from(["t", "u"]), st.sampled_from(["1", "2", ""]), max_size=2),
    power_level=st.sampled_from([None, "eco", "balanced"]),
    team=st.sampled_from([None, "red"]),
    tier=st.sampled_from([None, "free", "enterprise"]),
)


def holds(when: RuleConditions, request: RuleFacts) -> bool:
    """Compare conditions one by one, as the guide describes them."""
    tags = {*(request.tags or {}), *(f"{name}={value}" for name, value in (request.tags or {}).items())}
    for name, values in given_conditions(when).items():
        if name == "tag":
            found = bool(tags & set(values))
        elif name == "model":
            found = any(
                model.startswith(value[:-1]) if value.endswith("*") else model == value
                for model in request.models
                for value in values
            )
        else:
            found = getattr(request, name) in values
        if not found:
            return False
    return True


@settings(max_examples=300)
@given(st.lists(CONDITIONS, max_size=12), REQUESTS)
def test_the_index_finds_what_a_search_through_all_rules_finds(conditions: list[Any], request: RuleFacts) -> None:
    rules = [rule(f"r{number}", f"m{number}", **when) for number, when in enumerate(conditions)]
    version = published(rule_set(*rules))
    expected = next((each.name for each in version.rule_set.rules if holds(each.when, request)), None)
    found = CompiledRules(version).match(request)
    assert (found.name if found else None) == expected


SMALL: dict[str, list[str]] = {
    "operation": ["x", "y"],
    "model": ["m", "m*", "n"],
    "tag": ["a", "a=1"],
    "kind": ["chat", "embedding"],
}
EVERY_REQUEST = [
    RuleFacts(seed="s", tenant="acme", models=(model,), kind=kind, operation=operation, tags=tags)
    for model, kind, operation, tags in product(
        ("m", "m-1", "n", "o"), ("chat", "embedding"), ("x", "y", "z"), ({}, {"a": "1"}, {"a": "2"})
    )
]


@settings(max_examples=150)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={name: st.lists(st.sampled_from(each), min_size=1, max_size=1) for name, each in SMALL.items()},
        ).filter(bool),
        min_size=2,
        max_size=5,
    )
)
def test_exactly_the_rules_that_match_no_request_are_said_to_match_nothing(conditions: list[Any]) -> None:
    """A check that says too much would keep good rules from being published, one that says too little hides a mistake."""
    rules = rule_set(*(rule(f"r{number}", "m", **when) for number, when in enumerate(conditions)))
    findings = check_rule_set(rules, "acme")
    assert {finding.code for finding in findings} <= {FindingCode.MATCHES_NOTHING}
    compiled = CompiledRules(published(rules))
    used = {found.name for request in EVERY_REQUEST if (found := compiled.match(request)) is not None}
    assert {each.name for each in rules.rules} - used == {finding.rule for finding in findings}
