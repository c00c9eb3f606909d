"""Preferences are resolved field by field, the narrowest scope first, and each value keeps its origin."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.preferences import PreferenceOrigin, Preferences, PreferenceScope, SavedPreferences
from services.router.preferences.effective import NO_PREFERENCES, describe, resolve
from services.router.preferences.index import PreferenceIndex, view_key
from tests.support.router.saved_preferences import saved

SCOPES = list(PreferenceScope)
ORDINARY: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.sampled_from(["platform", "byok", "custom"]),
    "default_model": st.sampled_from(["gpt-4o", "claude-haiku-4-5"]),
    "preferred_models": st.lists(st.sampled_from(["a", "b"]), max_size=2),
    "fallback_models": st.lists(st.sampled_from(["a", "b"]), max_size=2),
    "default_provider": st.sampled_from(["openai", "bedrock"]),
    "fallback_provider": st.sampled_from(["openai", "bedrock"]),
    "temperature": st.sampled_from([0.0, 0.5, 2.0]),
    "max_tokens": st.integers(100, 128_000),
    "max_tokens_per_request": st.integers(100, 128_000),
    "power_level": st.sampled_from(["eco", "precision"]),
    "cost_optimization": st.booleans(),
    "learned_quality": st.booleans(),
    "auto_provider_switch": st.booleans(),
    "fallback_on_content_filter": st.booleans(),
    "fallback_after_possible_charge": st.booleans(),
    "fallback_chain": st.sampled_from(["code", "chat"]),
    "openrouter_site_url": st.just("https://example.com"),
    "openrouter_site_name": st.just("Example"),
}
MAPS: dict[str, st.SearchStrategy[Any]] = {
    "mode_by_operation": st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["platform", "byok"])),
    "model_by_operation": st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["a", "b"])),
}
LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "eu_only": st.booleans(),
    "allowed_regions": st.lists(st.sampled_from(["eu", "us", "ap"]), min_size=1, max_size=2),
}
VALUES = st.fixed_dictionaries({}, optional=ORDINARY | MAPS | LIMITS)
LAYERS = st.lists(VALUES, min_size=len(SCOPES), max_size=len(SCOPES))


def layers(values: list[dict[str, Any]]) -> list[SavedPreferences]:
    return [saved(scope, **each) for scope, each in zip(SCOPES, values, strict=True)]


def test_the_strategies_cover_every_preference() -> None:
    assert (ORDINARY | MAPS | LIMITS).keys() == Preferences.model_fields.keys()


@settings(max_examples=200)
@given(LAYERS)
def test_the_narrowest_scope_that_sets_a_value_wins_and_is_its_origin(values: list[dict[str, Any]]) -> None:
    given_layers = layers(values)
    found = resolve(given_layers)
    for name in ORDINARY:
        holders = [each for each in given_layers if getattr(each.preferences, name) is not None]
        if not holders:
            assert getattr(found, name) == getattr(NO_PREFERENCES, name)
            assert found.source(name).origin is PreferenceOrigin.DEFAULT
            continue
        expected = getattr(holders[-1].preferences, name)
        value = getattr(found, name)
        assert (list(value) if isinstance(value, tuple) else value) == expected
        assert found.source(name).origin == holders[-1].scope.value


@settings(max_examples=100)
@given(LAYERS)
def test_maps_are_resolved_key_by_key(values: list[dict[str, Any]]) -> None:
    given_layers = layers(values)
    found = resolve(given_layers)
    for name in MAPS:
        for key in "xyz":
            holders = [each for each in given_layers if key in (getattr(each.preferences, name) or {})]
            assert getattr(found, name).get(key) == (getattr(holders[-1].preferences, name)[key] if holders else None)
            origin = holders[-1].scope.value if holders else "default"
            assert found.source(f"{name}.{key}").origin == origin


@settings(max_examples=200)
@given(LAYERS, st.integers(0, len(SCOPES)))
def test_a_narrower_scope_never_widens_where_requests_are_processed(values: list[dict[str, Any]], count: int) -> None:
    broad, all_of_them = resolve(layers(values)[:count]), resolve(layers(values))
    assert all_of_them.eu_only or not broad.eu_only
    assert set(broad.allowed_regions) <= set(all_of_them.allowed_regions)
    assert all_of_them.eu_only == any(each.get("eu_only") for each in values)


@settings(max_examples=100)
@given(LAYERS)
def test_what_is_described_is_what_is_in_force(values: list[dict[str, Any]]) -> None:
    found = resolve(layers(values))
    shown = list(describe(found))
    assert {each.name.partition(".")[0] for each in shown} >= set(ORDINARY | LIMITS)
    for each in shown:
        name, _, key = each.name.partition(".")
        if name != "allowed_regions":
            assert each.origin is found.source(each.name).origin, each.name
        value = getattr(found, name)
        if key:
            assert each.value == value[key]
        elif isinstance(value, bool | int | float | str) and name != "power_level":
            assert each.value == value


def test_the_origin_of_eu_residency_is_the_broadest_scope_that_requires_it() -> None:
    found = resolve([saved("platform", eu_only=False), saved("tenant", eu_only=True), saved("team", eu_only=False)])
    assert found.eu_only
    assert found.source("eu_only") == (PreferenceOrigin.TENANT, "acme")


def test_the_limit_of_a_request_bounds_the_tokens_that_are_added() -> None:
    both = resolve([saved("tenant", max_tokens=4000, max_tokens_per_request=1000)]).body_defaults
    assert both is not None
    assert (both.max_tokens, both.most_tokens) == (1000, 1000)
    alone = resolve([saved("tenant", max_tokens_per_request=1000)]).body_defaults
    assert alone is not None
    assert (alone.temperature, alone.max_tokens, alone.most_tokens) == (None, 1000, 1000)
    assert resolve([saved("tenant", default_model="gpt-4o")]).body_defaults is None


def test_a_request_has_the_preferences_of_its_own_scopes_only() -> None:
    index = PreferenceIndex()
    index.replace(
        "acme", [saved("team", default_model="of-the-team"), saved("client_token", default_model="of-the-token")]
    )
    assert index.of("acme", None, None, None) is NO_PREFERENCES
    assert index.of("acme", "support", None, None).default_model == "of-the-team"
    assert index.of("acme", "support", "alice", "tok_1").default_model == "of-the-token"
    assert index.of("other", "support", None, "tok_1") is NO_PREFERENCES
    assert index.of("acme", "support", None, None) is index.of("acme", "support", None, None), "it is resolved once"


def test_scopes_to_which_the_same_layers_apply_share_one_object() -> None:
    """A table of a power level is built for each such object: one for each client token would not fit into memory."""
    index = PreferenceIndex()
    index.replace("platform", [saved("platform", cost_optimization=True)])
    shared = index.of("globex", None, None, "tok_1")
    assert shared.cost_optimization
    assert index.of("globex", None, None, "tok_2") is shared
    assert index.of("initech", "team", "member", None) is shared
    index.replace("acme", [saved("tenant", power_level="eco")])
    assert index.of("acme", None, None, "tok_1") is index.of("acme", "team", None, "tok_2")
    assert index.of("acme", None, None, "tok_1") is not shared
    index.replace("platform", [saved("platform", cost_optimization=False)])
    assert not index.of("globex", None, None, "tok_1").cost_optimization


def test_a_change_replaces_what_was_resolved() -> None:
    index = PreferenceIndex()
    index.replace("platform", [saved("platform", power_level="eco")])
    index.replace("acme", [saved("tenant", max_tokens=500)])
    assert index.of("acme", None, None, None).power_level == "eco"
    assert index.of("other", None, None, None).max_tokens is None
    index.replace("acme", [saved("tenant", max_tokens=600)])
    assert index.of("acme", None, None, None).max_tokens == 600
    index.replace("platform", [])
    assert index.of("acme", None, None, None).power_level is None
    index.replace("acme", [])
    assert index.of("acme", None, None, None) is NO_PREFERENCES


def test_an_entry_of_another_tenant_is_left_out() -> None:
    index = PreferenceIndex()
    index.replace("other", [saved("tenant", max_tokens=600)])
    assert index.of("acme", None, None, None) is NO_PREFERENCES
    assert index.of("other", None, None, None) is NO_PREFERENCES


def test_the_scopes_of_two_tenants_and_of_two_kinds_have_other_keys_in_the_view() -> None:
    one = saved("team")
    others = [
        one.model_copy(update={"tenant": "other"}),
        one.model_copy(update={"scope": PreferenceScope.MEMBER}),
        one.model_copy(update={"scope_id": "support.2"}),
    ]
    keys = {view_key(each) for each in (one, *others)}
    assert len(keys) == 4
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") for key in keys)
