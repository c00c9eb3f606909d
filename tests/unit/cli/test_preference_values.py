"""Preferences as a command line writes them: NAME=VALUE, lists with commas, values of operations by their names."""

import pytest

from keyferry.cli.preference_values import assign, format_origin, format_value, remove
from keyferry.cli.problem import Problem
from keyferry.contracts.preferences import EffectivePreference, PreferenceOrigin, Preferences, RoutingMode

EMPTY = Preferences()


def test_every_preference_can_be_set_and_unset() -> None:
    given = assign(
        EMPTY,
        [
            "mode=byok",
            "mode_by_operation.research=platform",
            "default_model=gpt-4o",
            "model_by_operation.research=gpt-4.1",
            "model_by_operation.chat=gpt-4o",
            "preferred_models=gpt-4o, gpt-4.1",
            "fallback_models=",
            "default_provider=openai",
            "fallback_provider=openrouter",
            "temperature=0.5",
            "max_tokens=2000",
            "max_tokens_per_request=4000",
            "eu_only=true",
            "allowed_regions=eu",
            "power_level=eco",
            "cost_optimization=on",
            "auto_provider_switch=off",
            "fallback_on_content_filter=yes",
            "fallback_after_possible_charge=no",
            "fallback_chain=code",
            "learned_quality=false",
            "openrouter_site_url=https://example.com",
            "openrouter_site_name=Example, Inc.",
        ],
    )
    values = given.model_dump(exclude_none=True)
    assert values.keys() == Preferences.model_fields.keys()
    assert given.mode_by_operation == {"research": RoutingMode.PLATFORM}
    assert (given.fallback_models, given.preferred_models) == ([], ["gpt-4o", "gpt-4.1"])
    assert (given.cost_optimization, given.auto_provider_switch) == (True, False)
    assert given.openrouter_site_name == "Example, Inc."
    assert remove(given, Preferences.model_fields).model_dump(exclude_none=True) == {}


def test_what_is_not_named_stays() -> None:
    saved = Preferences(temperature=0.5, model_by_operation={"research": "gpt-4.1", "chat": "gpt-4o"})
    given = assign(saved, ["max_tokens=500", "model_by_operation.chat=gpt-4.1"])
    assert (given.temperature, given.max_tokens) == (0.5, 500)
    assert given.model_by_operation == {"research": "gpt-4.1", "chat": "gpt-4.1"}
    given = remove(saved, ["model_by_operation.chat"])
    assert (given.temperature, given.model_by_operation) == (0.5, {"research": "gpt-4.1"})
    assert remove(given, ["model_by_operation.research"]).model_by_operation is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("default_model", "NAME=VALUE"),
        ("defaultmodel=gpt-4o", "there is no preference of that name"),
        ("model_by_operation=gpt-4o", "has a value for each operation"),
        ("temperature.research=1", "has one value"),
        ("temperature=hot", "temperature is a number"),
        ("temperature=nan", "temperature"),
        ("max_tokens=1.5", "max_tokens is a number"),
        ("max_tokens=" + "9" * 5000, "max_tokens"),
        ("max_tokens=50", "should be at least 100"),
        ("eu_only=maybe", "eu_only is true or false"),
        ("power_level=max", "power_level"),
        ("mode_by_operation.research=all", "mode_by_operation.research"),
        ("default_model=a b", "default_model"),
        ("default_model=sk-proj-" + "aB3dE6gH9j" * 5, "default_model"),
    ],
)
def test_a_value_that_cannot_be_saved_is_explained(assignment: str, message: str) -> None:
    with pytest.raises(Problem) as refused:
        assign(EMPTY, [assignment])
    shown = "\n".join(refused.value.lines())
    assert message in shown
    assert "sk-proj-" not in shown


def test_a_misspelt_name_is_answered_with_the_similar_one() -> None:
    with pytest.raises(Problem) as refused:
        assign(EMPTY, ["defaultmodel=gpt-4o"])
    assert "Did you mean default_model?" in "\n".join(refused.value.lines())


def test_only_what_is_set_can_be_unset() -> None:
    for name in ("temperature", "model_by_operation.research", "model_by_operation"):
        with pytest.raises(Problem, match="is not set in this scope"):
            remove(Preferences(max_tokens=500), [name])


def test_values_and_origins_are_shown() -> None:
    def shown(value: object, origin: PreferenceOrigin, origin_id: str | None = None) -> tuple[str, str]:
        each = EffectivePreference.model_validate(
            {"name": "x", "value": value, "origin": origin, "origin_id": origin_id}
        )
        return format_value(each), format_origin(each)

    assert shown(None, PreferenceOrigin.DEFAULT) == ("-", "default")
    assert shown(True, PreferenceOrigin.PLATFORM) == ("true", "platform")
    assert shown(0.5, PreferenceOrigin.CLIENT_TOKEN, "tok_1") == ("0.5", "client token tok_1")
    assert shown(["a", "b"], PreferenceOrigin.TEAM, "support") == ("a, b", "team support")
    assert shown(2000, PreferenceOrigin.TENANT, "acme") == ("2000", "tenant acme")
