"""Members, invitations and teams over HTTP: who acts is taken from the credential, and a code is shown once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts import invitation_code
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.alert_management import ALERT_RULE_LIST
from keyferry.contracts.alert_rules import AlertRule, AlertRules, AlertRuleStatus
from keyferry.contracts.budget import Budgets
from keyferry.contracts.envelope import Message
from keyferry.contracts.ledger_management import BUDGET_LIST
from keyferry.contracts.membership import (
    CreateInvitation,
    Invitation,
    Invitations,
    Member,
    MemberRemoved,
    Members,
    MemberSignedOut,
    MemberSource,
    RemoveMember,
    RemoveTeam,
    SignOutMember,
    Team,
    TeamRemoved,
    Teams,
    UpdateMember,
    UpdateTeam,
)
from keyferry.contracts.membership_management import (
    INVITATION_CREATE,
    INVITATION_LIST,
    INVITATION_REVOKE,
    MEMBER_GET,
    MEMBER_LIST,
    MEMBER_REMOVE,
    MEMBER_SIGN_OUT,
    MEMBER_UPDATE,
    TEAM_CREATE,
    TEAM_LIST,
    TEAM_REMOVE,
    TEAM_UPDATE,
)
from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences, SavedScopes
from keyferry.contracts.routing_management import PREFERENCES_LIST
from tests.unit.console.surface import KEY, Surface, error, stored

PATH = "/api/v1/ops/tenants/acme"
AT = datetime(2026, 11, 30, tzinfo=UTC)
OPERATOR = AccessRole.OPERATOR
ANN = Member(
    tenant="acme",
    member_id="mem_1",
    email="ann@example.com",
    role=AccessRole.VIEWER,
    source=MemberSource.CLAIMS,
    created_at=AT,
)
SALES = Team(tenant="acme", team="sales", members=["mem_1"], created_at=AT)
INVITED = Invitation(
    invitation_id="inv_1",
    tenant="acme",
    email="bob@example.com",
    role=AccessRole.ADMIN,
    created_by="console:operator",
    created_at=AT,
    expires_at=AT.replace(year=2027),
)
BY = {"tenant": "acme", "actor": "console:operator", "actor_role": OPERATOR}


def asked(surface: Surface, name: str) -> Message:
    return [question for subject, question in surface.bus.asked if subject == name][-1]


async def test_members_are_listed_changed_and_removed() -> None:
    surface = Surface()
    surface.bus.answers(MEMBER_LIST, Members(members=[ANN]))
    surface.bus.answers(MEMBER_GET, ANN)
    surface.bus.answers(MEMBER_UPDATE, ANN.model_copy(update={"role": AccessRole.ADMIN}))
    surface.bus.answers(MEMBER_REMOVE, MemberRemoved(member=ANN, client_token_count=0))
    assert (await surface.ask("GET", f"{PATH}/members")).json()["data"][0]["email"] == "ann@example.com"
    assert (await surface.ask("GET", f"{PATH}/members/mem_1")).json()["role"] == "viewer"
    changed = await surface.ask("PATCH", f"{PATH}/members/mem_1", {"role": "admin", "teams": []})
    assert changed.json()["role"] == "admin"
    expected = UpdateMember.model_validate(BY | {"member_id": "mem_1", "role": "admin", "teams": []})
    assert asked(surface, MEMBER_UPDATE.name) == expected
    removed = await surface.ask("DELETE", f"{PATH}/members/mem_1?revoke_tokens=true")
    assert removed.json()["client_token_count"] == 0
    assert asked(surface, MEMBER_REMOVE.name) == RemoveMember.model_validate(
        BY | {"member_id": "mem_1", "revoke_tokens": True}
    )


async def test_a_member_is_signed_out() -> None:
    surface = Surface()
    surface.bus.answers(MEMBER_SIGN_OUT, MemberSignedOut(member_id="mem_1", sessions=2))
    ended = await surface.ask("DELETE", f"{PATH}/members/mem_1/sessions")
    assert (ended.status_code, ended.json()) == (200, {"member_id": "mem_1", "sessions": 2})
    assert asked(surface, MEMBER_SIGN_OUT.name) == SignOutMember.model_validate(BY | {"member_id": "mem_1"})


async def test_only_the_digest_of_an_invitations_code_is_passed_on() -> None:
    surface = Surface()
    surface.bus.answers(INVITATION_CREATE, INVITED)
    surface.bus.answers(INVITATION_LIST, Invitations(invitations=[INVITED]))
    surface.bus.answers(INVITATION_REVOKE, INVITED.model_copy(update={"revoked_at": AT}))
    body = {"email": "Bob@Example.com", "role": "admin", "expires_at": "2027-01-01T00:00:00Z"}
    made = await surface.ask("POST", f"{PATH}/invitations", body)
    assert (made.status_code, made.headers["location"]) == (201, f"{PATH}/invitations/inv_1")
    code = made.json()["code"]
    command = asked(surface, INVITATION_CREATE.name)
    assert isinstance(command, CreateInvitation)
    assert invitation_code.is_well_formed(code)
    assert (command.digest, command.email) == (invitation_code.digest(code), "bob@example.com")
    assert code not in command.encode().decode()
    assert (await surface.ask("GET", f"{PATH}/invitations")).json()["data"][0]["invitation_id"] == "inv_1"
    assert "code" not in (await surface.ask("GET", f"{PATH}/invitations/inv_1")).json()
    assert error(await surface.ask("GET", f"{PATH}/invitations/inv_2"))[:2] == (404, "not_found")
    assert (await surface.ask("DELETE", f"{PATH}/invitations/inv_1")).json()["revoked_at"]


def _watching(team: str | None) -> AlertRuleStatus:
    """Return a rule over a team's requests; None for one that cannot be read."""
    terms = {"name": "x", "metric": "requests", "condition": {"threshold": "5"}, "window": "month"}
    about = {"tenant": "acme", "rule_id": f"alr_{team}".lower(), "revision": 1}
    rule = None if team is None else AlertRule.model_validate(terms | about | {"scope": {"team": team}})
    status = {"name": "x", "rule": rule, "is_default": False, "state": "active"}
    return AlertRuleStatus.model_validate(about | status)


async def test_a_team_that_preferences_name_is_removed_only_by_force() -> None:
    surface = Surface()
    saved = SavedPreferences(
        tenant="acme",
        scope=PreferenceScope.TEAM,
        scope_id="sales",
        revision=1,
        preferences=Preferences(default_model="gpt-4o"),
    )
    surface.bus.answers(PREFERENCES_LIST, SavedScopes(scopes=[saved]))
    surface.bus.answers(BUDGET_LIST, Budgets(tenant="acme", as_of=AT, budgets=[]))
    surface.bus.answers(ALERT_RULE_LIST, AlertRules(tenant="acme", rules=[_watching("design"), _watching(None)]))
    surface.store(stored(tenant="acme", team="labs"))
    surface.bus.answers(TEAM_LIST, Teams(teams=[SALES]))
    surface.bus.answers(TEAM_CREATE, SALES)
    surface.bus.answers(TEAM_UPDATE, SALES)
    surface.bus.answers(TEAM_REMOVE, TeamRemoved(team=SALES))
    assert (await surface.ask("POST", f"{PATH}/teams", {"team": "sales"})).status_code == 201
    assert (await surface.ask("GET", f"{PATH}/teams")).json()["data"][0]["members"] == ["mem_1"]
    assert (await surface.ask("GET", f"{PATH}/teams/sales")).json()["team"] == "sales"
    await surface.ask("PATCH", f"{PATH}/teams/sales", {"add": ["mem_1"]})
    assert asked(surface, TEAM_UPDATE.name) == UpdateTeam.model_validate(BY | {"team": "sales", "add": ["mem_1"]})
    refused = await surface.ask("DELETE", f"{PATH}/teams/sales")
    assert error(refused)[:2] == (409, "conflict")
    assert "its preferences" in refused.json()["error"]["message"]
    of_key = await surface.ask("DELETE", f"{PATH}/teams/labs")
    assert "the provider key key_0001" in of_key.json()["error"]["message"]
    of_rule = await surface.ask("DELETE", f"{PATH}/teams/design")
    assert "the alert rule alr_design" in of_rule.json()["error"]["message"]
    assert (await surface.ask("DELETE", f"{PATH}/teams/other")).status_code == 200
    assert (await surface.ask("DELETE", f"{PATH}/teams/sales?force=true")).status_code == 200
    assert asked(surface, TEAM_REMOVE.name) == RemoveTeam.model_validate(BY | {"team": "sales", "force": True})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "members/mem_1", {}),
        ("PATCH", "members/mem_1", {"role": "operator"}),
        ("PATCH", "members/mem_1", {"role": "admin", "actor_role": "owner"}),
        ("PATCH", "members/mem_1", {"name": "a\x00b"}),
        ("PATCH", "members/mem_1", {"name": "\ud800"}),
        ("PATCH", "members/mem_1", {"name": None}),
        ("POST", "invitations", {"email": "nobody", "role": "viewer"}),
        ("POST", "invitations", {"email": "a@b.c", "role": "viewer", "digest": "0" * 64}),
        ("POST", "teams", {"team": KEY}),
        ("POST", "teams", {"team": "a b"}),
        ("PATCH", "teams/sales", {}),
    ],
)
async def test_hostile_bodies_reach_no_service(method: str, path: str, body: dict[str, Any]) -> None:
    surface = Surface()
    status, _, _ = error(await surface.ask(method, f"{PATH}/{path}", body))
    assert status in (400, 422)
    assert not [name for name, _ in surface.bus.asked if name.split(".")[0] in ("member", "invitation", "team")]
