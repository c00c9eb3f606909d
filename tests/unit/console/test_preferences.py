"""Preferences over HTTP: the scope is in the query, the tenant in the credential or the path, and the body is all of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts.preferences import (
    EffectivePreference,
    PreferenceOrigin,
    Preferences,
    PreferenceScope,
    PreferencesInForce,
    SavedScopes,
)
from keyferry.contracts.routing_management import PREFERENCES_GET, PREFERENCES_LIST, PREFERENCES_SAVE
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import ClientToken, ClientTokens
from keyferry.contracts.topology import TOKEN_LIST
from tests.unit.console.surface import KEY, Surface, error

BASE = "/api/v1/ops/tenants/acme"
TOKEN_ID = "tok_00000000000000000000000001"
FOUND = PreferencesInForce(
    tenant="acme",
    scope=PreferenceScope.TEAM,
    scope_id="support",
    revision=3,
    saved=Preferences(temperature=0.5),
    effective=[
        EffectivePreference(name="power_level", value="eco", origin=PreferenceOrigin.TENANT, origin_id="acme"),
        EffectivePreference(name="temperature", value=0.5, origin=PreferenceOrigin.TEAM, origin_id="support"),
    ],
)


@pytest.fixture
def surface() -> Surface:
    made = Surface()
    made.bus.answers(PREFERENCES_GET, FOUND)
    made.bus.answers(PREFERENCES_SAVE, FOUND)
    made.bus.answers(PREFERENCES_LIST, SavedScopes(scopes=[]))
    token = ClientToken(
        token_id=TOKEN_ID, tenant="acme", label="x", last4="abcd", team="support", member="alice",
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
    )  # fmt: skip
    made.bus.answers(TOKEN_LIST, ClientTokens(tokens=[token]))
    return made


def asked(surface: Surface, name: str) -> Any:
    return [question for subject, question in surface.bus.asked if subject == name][-1]


async def test_reading_shows_each_value_with_its_origin(surface: Surface) -> None:
    response = await surface.ask("GET", f"{BASE}/preferences?team=support")
    body = response.json()
    assert (body["revision"], body["saved"]["temperature"]) == (3, 0.5)
    assert body["effective"][0] == {"name": "power_level", "value": "eco", "origin": "tenant", "origin_id": "acme"}
    question = asked(surface, PREFERENCES_GET.name)
    assert (question.tenant, question.team, question.member) == ("acme", "support", None)


async def test_a_client_token_brings_its_team_and_member(surface: Surface) -> None:
    await surface.ask("GET", f"{BASE}/preferences?client_token={TOKEN_ID}")
    question = asked(surface, PREFERENCES_GET.name)
    assert (question.team, question.member, question.client_token_id) == ("support", "alice", TOKEN_ID)
    await surface.ask("GET", f"{BASE}/preferences?client_token={TOKEN_ID}&team=other")
    assert asked(surface, PREFERENCES_GET.name).team == "other"
    unknown = await surface.ask("GET", f"{BASE}/preferences?client_token=tok_00000000000000000000000002")
    assert error(unknown)[:2] == (404, "not_found")


async def test_saving_replaces_all_and_may_require_a_revision(surface: Surface) -> None:
    body = {"default_model": "gpt-4o", "temperature": None, "model_by_operation": {"a": "b"}, "revision": 3}
    response = await surface.ask("PUT", f"{BASE}/preferences?member=alice", body)
    assert response.status_code == 200
    command = asked(surface, PREFERENCES_SAVE.name)
    assert (command.tenant, command.member, command.actor) == ("acme", "alice", "console:operator")
    assert command.expected_revision == 3
    assert command.preferences.model_dump(exclude_none=True) == {
        "default_model": "gpt-4o",
        "model_by_operation": {"a": "b"},
    }
    await surface.ask("PUT", "/api/v1/preferences", {})
    command = asked(surface, PREFERENCES_SAVE.name)
    assert (command.tenant, command.scope, command.expected_revision) == ("platform", PreferenceScope.PLATFORM, None)


async def test_refusals_of_the_router_are_answered_as_such(surface: Surface) -> None:
    for code, status in ((ErrorCode.INVALID, 422), (ErrorCode.CONFLICT, 409), (ErrorCode.NOT_FOUND, 404)):
        surface.bus.answers(PREFERENCES_SAVE, Refusal(code=code, message="nothing was saved: no"))
        response = await surface.ask("PUT", f"{BASE}/preferences", {})
        assert response.status_code == status
        assert "nothing was saved" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"nosuch": 1}, (400, "unknown_field", "nosuch")),
        ({"temperature": 3}, (422, "invalid_value", "temperature")),
        ({"temperature": "1"}, (422, "invalid_value", "temperature")),
        ({"max_tokens": 99}, (422, "invalid_value", "max_tokens")),
        ({"max_tokens": True}, (422, "invalid_value", "max_tokens")),
        ({"eu_only": "true"}, (422, "invalid_value", "eu_only")),
        ({"power_level": "max"}, (422, "invalid_value", "power_level")),
        ({"revision": -1}, (422, "invalid_value", "revision")),
        ({"default_model": KEY}, (422, "invalid_value", "default_model")),
        ({"default_model": "a\x00"}, (422, "invalid_value", "default_model")),
    ],
)
async def test_invalid_preferences_are_refused_before_they_travel(
    surface: Surface, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    response = await surface.ask("PUT", f"{BASE}/preferences", body)
    assert error(response) == expected
    assert KEY not in response.text
    assert PREFERENCES_SAVE.name not in [subject for subject, _ in surface.bus.asked]


async def test_preferences_are_saved_in_one_scope_that_exists(surface: Surface) -> None:
    two = await surface.ask("PUT", f"{BASE}/preferences?team=a&member=b", {})
    assert error(two)[:2] == (422, "invalid_value")
    of_the_platform = await surface.ask("PUT", "/api/v1/preferences?team=a", {})
    assert error(of_the_platform) == (422, "invalid_value", "team")
    unknown = await surface.ask("PUT", f"{BASE}/preferences?client_token=tok_00000000000000000000000002", {})
    assert error(unknown)[:2] == (404, "not_found")
    for query in ("client_token=kf_live_x", "team=a b", "member=%00", f"team={KEY}"):
        response = await surface.ask("PUT", f"{BASE}/preferences?{query}", {})
        assert response.status_code == 422, query
        assert KEY not in response.text
    assert PREFERENCES_SAVE.name not in [subject for subject, _ in surface.bus.asked]


async def test_the_power_level_is_one_of_the_preferences(surface: Surface) -> None:
    response = await surface.ask("GET", f"{BASE}/power-level?team=support")
    assert response.json() == {"power_level": "eco", "origin": "tenant", "origin_id": "acme", "revision": 3}
    response = await surface.ask("PUT", f"{BASE}/power-level?team=support", {"power_level": "precision"})
    assert response.status_code == 200
    command = asked(surface, PREFERENCES_SAVE.name)
    assert (command.team, command.expected_revision) == ("support", 3)
    assert command.preferences.model_dump(mode="json", exclude_none=True) == {
        "temperature": 0.5,
        "power_level": "precision",
    }
    await surface.ask("PUT", f"{BASE}/power-level", {"power_level": None})
    assert asked(surface, PREFERENCES_SAVE.name).preferences.power_level is None
    assert error(await surface.ask("PUT", f"{BASE}/power-level", {}))[:2] == (422, "invalid_value")
    assert error(await surface.ask("PUT", f"{BASE}/power-level", {"power_level": "eco", "x": 1}))[0] == 400


async def test_the_scopes_are_listed(surface: Surface) -> None:
    assert (await surface.ask("GET", f"{BASE}/preferences/scopes")).json() == {"scopes": []}
    assert asked(surface, PREFERENCES_LIST.name).tenant == "acme"
