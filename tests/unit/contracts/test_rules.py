"""The document of routing rules is strict, and what is wrong with one in itself is found."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from keyferry.contracts.envelope import describe
from keyferry.contracts.rule_checks import check_rule_set, is_fault
from keyferry.contracts.rule_text import format_rule_set
from keyferry.contracts.rules import MAX_RULES, MAX_STEPS, FindingCode, RuleSet
from tests.support.router.rule_sets import rule, rule_set, split

KEY = "sk-proj-Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0Oi7Uy2Te4RA9f2"
GOOD = rule("good", "gpt-5", operation="code")


def refusal(document: object) -> str:
    with pytest.raises(ValidationError) as refused:
        RuleSet.model_validate_json(json.dumps(document))
    return describe(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"whn": {}}, "rules.0.whn: there is no such field"),
        ({"when": {"operatoin": ["x"]}}, "rules.0.when.operatoin: there is no such field"),
        ({"when": {"power_level": ["turbo"]}}, "'eco', 'balanced' or 'precision'"),
        ({"when": {"kind": "image"}}, "'chat' or 'embedding'"),
        ({"when": {"tier": "gold"}}, "'free', 'starter', 'professional' or 'enterprise'"),
        ({"when": {"operation": []}}, "at least 1 item"),
        ({"when": {"operation": ["x"] * 51}}, "at most 50 items"),
        ({"when": {"model": "*"}}, "leave the condition out to match every model"),
        ({"when": {"model": "gpt-*-mini"}}, "a single \\* after it".replace("\\", "")),
        ({"when": {"tag": "=x"}}, "it should be NAME or NAME=VALUE"),
        ({"when": None}, "it should be an object"),
        ({"chain": []}, "at least 1 item"),
        ({"chain": [{"model": "m"}] * (MAX_STEPS + 1)}, f"at most {MAX_STEPS} items"),
        ({"chain": [{}]}, "exactly one of model, power_level, chain and split"),
        ({"chain": [{"model": "m", "power_level": "eco"}]}, "exactly one of model, power_level, chain and split"),
        ({"chain": [{"power_level": "eco", "provider": "openai"}]}, "name a provider only beside a model"),
        ({"chain": [{"split": [{"model": "a", "weight": 1}]}]}, "at least 2 items"),
        ({"chain": [split(a=0, b=1)]}, "at least 1: leave a model out that shall get no requests"),
        ({"chain": [split(a=-1, b=1)]}, "at least 1"),
        ({"chain": [split(a=10**7, b=1)]}, "at most 1000000"),
        (
            {"chain": [{"split": [{"model": "a", "weight": 1.5}, {"model": "b", "weight": 1}]}]},
            "it should be an integer",
        ),
        (
            {"chain": [{"split": [{"model": "a", "weight": "1"}, {"model": "b", "weight": 1}]}]},
            "it should be an integer",
        ),
        (
            {"chain": [{"split": [{"model": "a", "weight": True}, {"model": "b", "weight": 1}]}]},
            "it should be an integer",
        ),
        ({"name": "Not A Name"}, "1 to 63 characters"),
        ({"enabled": "yes"}, "true or false"),
        ({"description": "x" * 501}, "at most 500"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(change: dict[str, Any], reason: str) -> None:
    assert reason in refusal({"rules": [GOOD | change]})


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "a\u202eb", "\ud800", "x" * 400, KEY])
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"name": text},
        lambda text: {"description": text * 2},
        lambda text: {"when": {"operation": text}},
        lambda text: {"when": {"tag": text}},
        lambda text: {"when": {"tag": f"name={text}"}},
        lambda text: {"when": {"model": text}},
        lambda text: {"when": {"team": text}},
        lambda text: {"when": {"tenant": text}},
        lambda text: {"chain": [{"model": text}]},
        lambda text: {"chain": [{"model": "m", "provider": text}]},
        lambda text: {"chain": [{"split": [{"model": text, "weight": 1}, {"model": "b", "weight": 1}]}]},
    ],
)
def test_no_field_takes_what_cannot_be_recorded(place: Any, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RuleSet.model_validate({"rules": [GOOD | place(text)]})
    assert text not in describe(refused.value)


def test_there_are_bounds() -> None:
    assert "at most 200 items" in refusal({"rules": [GOOD] * (MAX_RULES + 1)})
    long = [rule(f"r{n}", "m", operation=[f"{n}-{'x' * 50}-{m}" for m in range(50)]) for n in range(60)]
    assert [finding.code for finding in check_rule_set(rule_set(*long))] == [FindingCode.TOO_LARGE]


def codes(*rules: dict[str, Any], tenant: str | None = "acme") -> list[tuple[str, str | None]]:
    findings = check_rule_set(rule_set(*rules), tenant)
    assert is_fault(findings) == bool(findings)
    return [(finding.code.value, finding.rule) for finding in findings]


def test_a_good_rule_set_has_no_faults() -> None:
    assert (
        codes(GOOD, rule("more", [split(a=1, b=2), {"power_level": "eco"}], tag="x"), rule("rest", "m", default=True))
        == []
    )
    assert codes() == []
    assert codes(rule("for-some", "m", tenant="acme", tier="free"), tenant="platform") == []


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([GOOD, GOOD], [("duplicate_name", "good")]),
        ([rule("all", "m"), GOOD], [("matches_everything", "all")]),
        ([rule("both", "m", kind=["chat", "embedding"])], [("matches_everything", "both")]),
        ([rule("rest", "m", default=True), GOOD], [("not_last", "rest")]),
        ([rule("rest", "m", default=True, operation="x")], [("not_last", "rest")]),
        ([rule("for-some", "m", tier="free")], [("platform_condition", "for-some")]),
        ([rule("r", [{"model": "m"}, split(m=1, n=1)], tag="x")], [("loop", "r")]),
        (
            [rule("r", [{"split": [{"model": "m", "weight": 1}, {"model": "m", "weight": 2}]}], tag="x")],
            [("duplicate_name", "r")],
        ),
        ([rule("r", [{"power_level": "eco"}], model="eco")], [("loop", "r")]),
        ([rule("r", "auto", model="a*", operation="x")], [("loop", "r")]),
        ([rule("a", "eco", model="auto"), rule("b", "auto", model="eco")], [("loop", "a")]),
        ([GOOD, rule("late", "m", operation="code")], [("matches_nothing", "late")]),
        ([GOOD, rule("late", "m", operation="code", team="x")], [("matches_nothing", "late")]),
        ([rule("a", "m", model="g*"), rule("late", "m", model=["gpt-*", "gpt-5"])], [("matches_nothing", "late")]),
        ([rule("a", "m", tag="t"), rule("late", "m", tag="t=1")], [("matches_nothing", "late")]),
        (
            [
                rule("a", "m", operation="x"),
                rule("b", "m", team="t"),
                rule("late", "m", operation=["x", "y"], team="t"),
            ],
            [("matches_nothing", "late")],
        ),
        (
            [
                rule("a", "m", operation="x", team="t"),
                rule("b", "m", operation="y"),
                rule("late", "m", operation=["x", "y"], team="t"),
            ],
            [("matches_nothing", "late")],
        ),
        (
            [rule("a", "m", kind="chat"), rule("b", "m", kind="embedding"), rule("late", "m", operation="x")],
            [("matches_nothing", "late")],
        ),
        (
            [rule("a", "m", kind="chat"), rule("b", "m", kind="embedding"), rule("rest", "m", default=True)],
            [("matches_nothing", "rest")],
        ),
    ],
)
def test_each_fault_is_found(rules: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    assert codes(*rules) == expected


@pytest.mark.parametrize(
    "rules",
    [
        [rule("off", "m", enabled=False, operation="code"), GOOD],
        [GOOD, rule("wider", "m", operation=["code", "chat"])],
        [GOOD, rule("other", "m", team="x")],
        [rule("a", "m", model="gpt-5"), rule("b", "m", model="gpt-*")],
        [rule("a", "m", tag="t=1"), rule("b", "m", tag="t")],
        [rule("code-to-level", [{"power_level": "eco"}], operation="code", model="auto")],
        [rule("add-fallback", [{"model": "gpt-5"}, {"model": "other"}], model="gpt-5")],
        [rule("a", "m", kind="chat"), rule("rest", "m", default=True)],
        [rule("a", "m", kind="chat"), rule("b", "m", kind="embedding", team="t"), rule("c", "m", operation="x")],
    ],
)
def test_what_is_possible_is_no_fault(rules: list[dict[str, Any]]) -> None:
    assert codes(*rules) == []


def test_rules_for_all_tiers_together_hide_what_comes_after_them() -> None:
    tiers = [rule("a", "m", tier=["free", "starter"]), rule("b", "m", tier=["professional", "enterprise"])]
    late = rule("late", "m", operation="x", tenant="acme")
    assert codes(*tiers, late, tenant="platform") == [("matches_nothing", "late")]
    assert codes(tiers[0], late, tenant="platform") == []


def test_a_large_rule_set_is_checked_in_bounded_work() -> None:
    values = [f"v{number}" for number in range(50)]
    rules = [rule(f"r{n}", "m", operation=values, tag=[f"t{n}"], team=values) for n in range(60)]
    assert codes(*rules) == []
    alike = [rule(f"r{n}", "m", operation=values, team=f"t{n}") for n in range(MAX_RULES - 1)]
    assert codes(*alike, rule("late", "m", operation=values[:2], team="t7")) == [("matches_nothing", "late")]


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Cf", "Cn", "Zl", "Zp")), max_size=20)
WORDS = st.one_of(
    NAMES, st.sampled_from(["yes", "No", "on", "null", "1", "0x1", "1e3", ".5", "a.b", "2001-01-01", "~", "true"])
)
MODELS = st.one_of(
    WORDS,
    st.sampled_from(
        ["gpt-5", "openai/gpt-5", "a:b", "*x", "-", "#x", "&a", "!t", "{a}", "[b]", "a,b", "'", '"', "%", "@"]
    ),
)
STEPS = st.one_of(
    MODELS.map(lambda model: {"model": model}),
    st.sampled_from(["eco", "balanced", "precision"]).map(lambda level: {"power_level": level}),
    st.lists(MODELS, min_size=2, max_size=3).map(
        lambda names: {"split": [{"model": name, "weight": 3} for name in names]}
    ),
)
RULES = st.fixed_dictionaries(
    {"name": NAMES, "chain": st.lists(STEPS, min_size=1, max_size=3)},
    optional={
        "description": TEXTS,
        "enabled": st.booleans(),
        "fallback": st.booleans(),
        "default": st.booleans(),
        "when": st.fixed_dictionaries(
            {},
            optional={
                "operation": st.lists(WORDS.filter(lambda word: "~" not in word), min_size=1, max_size=3),
                "tag": st.lists(st.tuples(NAMES, TEXTS).map("=".join), min_size=1, max_size=2),
                "kind": st.just(["chat"]),
            },
        ),
    },
)


@settings(max_examples=200)
@given(st.lists(RULES, max_size=4))
def test_the_text_of_a_rule_set_is_read_again_as_the_same(rules: list[dict[str, Any]]) -> None:
    before = RuleSet.model_validate({"rules": rules})
    text = "\n".join(format_rule_set(before))
    assert RuleSet.model_validate(yaml.safe_load(text)) == before
