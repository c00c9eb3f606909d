"""Which rules and preferences are named when a model is retired."""

from datetime import UTC, datetime

from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import ChainStep, Rule, RuleConditions, RuleSet, SplitShare
from services.router.model_uses import find_uses

_NOW = datetime(2026, 11, 29, tzinfo=UTC)


def _version(tenant: str, *rules: Rule) -> RuleSetVersion:
    return RuleSetVersion(tenant=tenant, version=3, rule_set=RuleSet(rules=list(rules)), actor="ann", published_at=_NOW)


def _rule(name: str, *chain: ChainStep, enabled: bool = True) -> Rule:
    return Rule(name=name, when=RuleConditions(operation=[name]), chain=list(chain), enabled=enabled)


def _saved(scope: PreferenceScope, scope_id: str, preferences: Preferences) -> SavedPreferences:
    return SavedPreferences(tenant="acme", scope=scope, scope_id=scope_id, revision=1, preferences=preferences)


def _is_old(name: str) -> bool:
    return name in ("old", "old-latest", "openai/old")


def test_rules_that_name_the_model_under_any_of_its_names_are_listed_with_their_steps() -> None:
    split = ChainStep(split=[SplitShare(model="new", weight=9), SplitShare(model="old-latest", weight=1)])
    sets = [
        _version("acme", _rule("review", ChainStep(model="old"), split), _rule("chat", ChainStep(model="new"))),
        _version("platform", _rule("all", ChainStep(model="old", provider="openai"))),
        _version("zeta", _rule("off", ChainStep(model="old"), enabled=False)),
    ]
    assert find_uses(_is_old, sets, []) == [
        "the rule review of acme (version 3) names it in step 1, 2 of its chain",
        "the rule all of the platform (version 3) names it in step 1 of its chain",
    ]


def test_preferences_that_name_the_model_are_listed_with_their_fields() -> None:
    saved = [
        _saved(PreferenceScope.TENANT, "acme", Preferences(default_model="old", fallback_models=["new"])),
        _saved(PreferenceScope.TEAM, "search", Preferences(model_by_operation={"summarize": "old"})),
        _saved(PreferenceScope.MEMBER, "ann", Preferences(default_model="new")),
    ]
    assert find_uses(_is_old, [], saved) == [
        "the preferences of acme name it: default_model",
        "the preferences of the team search of acme name it: model_by_operation.summarize",
    ]


def test_of_many_the_first_are_listed_and_the_others_counted() -> None:
    sets = [_version(f"tenant-{number}", _rule("one", ChainStep(model="old"))) for number in range(30)]
    found = find_uses(_is_old, sets, [])
    assert len(found) == 21
    assert found[-1] == "10 more rules and preferences name it"
