"""What every page shows of its tenant, and which operations the document says that a role may call."""

from dataclasses import replace
from typing import Any

import pytest

from keyferry.contracts import session_token
from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.membership import Member, MemberSource
from keyferry.contracts.preferences import (
    EffectivePreference,
    GetPreferences,
    PreferenceOrigin,
    Preferences,
    PreferenceScope,
    PreferencesInForce,
)
from keyferry.contracts.routing_management import PREFERENCES_GET
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.sessions import Session, SessionChannel
from keyferry.contracts.tenancy import GetTenant, KeyPolicy, Tenant, Tier, UpdateTenant
from keyferry.contracts.topology import TENANT_GET, TENANT_UPDATE
from services.console.access import ALLOWED
from services.console.authentication import OwnSession
from services.console.self_access import STEP_UP
from tests.unit.console.people import person
from tests.unit.console.surface import NOW, Surface, error, openapi_document
from tests.unit.console.test_access import ROUTES

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.PROFESSIONAL, time_zone="Europe/Berlin", content_days=7)


def in_force(**values: Any) -> PreferencesInForce:
    effective = [
        EffectivePreference(name=name, value=value, origin=PreferenceOrigin.TENANT) for name, value in values.items()
    ]
    return PreferencesInForce(
        tenant="acme",
        scope=PreferenceScope.TENANT,
        scope_id="acme",
        revision=1,
        saved=Preferences(),
        effective=effective,
    )


@pytest.mark.parametrize("role", TENANT_ROLES)
async def test_everybody_sees_what_holds_for_the_tenants_requests(role: AccessRole) -> None:
    surface = Surface(principal=person(role))
    surface.bus.answers(TENANT_GET, ACME)
    surface.bus.answers(
        PREFERENCES_GET,
        in_force(mode="byok", eu_only=True, power_level="eco", allowed_regions=["eu"], default_model="gpt-5"),
    )
    answer = await surface.ask("GET", "/api/v1/tenant")
    assert answer.status_code == 200
    assert answer.json() == {
        "tenant": "acme",
        "name": "Acme",
        "tier": "professional",
        "suspended": False,
        "time_zone": "Europe/Berlin",
        "byok": "default",
        "key_policy": None,
        "mode": "byok",
        "eu_only": True,
        "allowed_regions": ["eu"],
        "power_level": PowerLevel.ECO.value,
        "content": "off",
        "content_days": 7,
    }
    assert [question for _, question in surface.bus.asked] == [
        GetTenant(tenant="acme"),
        GetPreferences(tenant="acme"),
    ]


async def test_an_operator_sees_the_same_of_the_tenant_in_the_path() -> None:
    surface = Surface()
    surface.bus.answers(TENANT_GET, ACME)
    surface.bus.answers(PREFERENCES_GET, in_force(eu_only=False, power_level="balanced"))
    seen = (await surface.ask("GET", "/api/v1/ops/tenants/acme/tenant")).json()
    assert (seen["name"], seen["eu_only"], seen["mode"], seen["power_level"]) == ("Acme", False, None, "balanced")
    assert [access.resource for access in surface.accesses] == ["tenant"]


async def test_without_the_router_the_tenant_itself_is_shown() -> None:
    surface = Surface(principal=person(AccessRole.VIEWER))
    surface.bus.answers(TENANT_GET, ACME)
    surface.bus.answers(PREFERENCES_GET, Refusal(code=ErrorCode.UNAVAILABLE, message="its database is away"))
    seen = (await surface.ask("GET", "/api/v1/tenant")).json()
    assert (seen["name"], seen["eu_only"], seen["power_level"]) == ("Acme", None, None)


async def test_admins_change_the_name_the_zone_and_who_pays_and_nothing_else() -> None:
    surface = Surface(principal=person(AccessRole.ADMIN))
    surface.bus.answers(TENANT_UPDATE, ACME)
    surface.bus.answers(PREFERENCES_GET, in_force(eu_only=False))
    answer = await surface.ask("PATCH", "/api/v1/tenant", {"time_zone": "Europe/Berlin"})
    assert (answer.status_code, answer.json()["time_zone"]) == (200, "Europe/Berlin")
    command = UpdateTenant(tenant="acme", actor="member:ann", time_zone="Europe/Berlin")
    assert surface.bus.asked[0] == ("tenant.update", command)
    await surface.ask("PATCH", "/api/v1/tenant", {"key_policy": "own_then_platform"})
    command = UpdateTenant(tenant="acme", actor="member:ann", key_policy=KeyPolicy.OWN_THEN_PLATFORM)
    assert ("tenant.update", command) in surface.bus.asked
    for wrong in ({}, {"time_zone": "Mars/Olympus"}, {"time_zone": None}, {"name": ""}, {"key_policy": "anybody"}):
        assert error(await surface.ask("PATCH", "/api/v1/tenant", wrong))[0] == 422, wrong
    assert error(await surface.ask("PATCH", "/api/v1/tenant", {"tier": "enterprise"}))[:2] == (400, "unknown_field")


async def test_a_session_names_the_tenants_of_its_memberships() -> None:
    session = Session(
        session_id="ses_1",
        user_id="usr_ann",
        name="Ann",
        channel=SessionChannel.BROWSER,
        created_at=NOW,
        expires_at=NOW,
        idle_seconds=60,
        last_seen_at=NOW,
    )
    members = tuple(
        Member(
            member_id=f"mem_{tenant}",
            tenant=tenant,
            user_id="usr_ann",
            role=AccessRole.VIEWER,
            source=MemberSource.INVITATION,
            created_at=NOW,
        )
        for tenant in ("acme", "globex")
    )
    login = OwnSession(session, session_token.mint(), members)
    surface = Surface(principal=replace(person(AccessRole.VIEWER), login=login))

    def directory(question: Any) -> Tenant | Refusal:
        away = Refusal(code=ErrorCode.UNAVAILABLE, message="its database is away")
        return ACME if question.tenant == "acme" else away

    surface.bus.answers(TENANT_GET, directory)
    seen = (await surface.ask("GET", "/api/v1/session")).json()
    assert [(each["tenant"], each["name"]) for each in seen["memberships"]] == [("acme", "Acme"), ("globex", None)]


def test_the_document_says_who_may_call_each_route() -> None:
    paths = openapi_document()["paths"]
    for method, path in ROUTES:
        operation = paths[path][method.lower()]
        assert operation["x-keyferry-roles"] == [role.value for role in AccessRole if role in ALLOWED[method, path]]
        assert operation["x-keyferry-step-up"] is ((method, path) in STEP_UP)
    assert paths["/api/v1/provider-keys"]["post"]["x-keyferry-roles"] == ["owner", "admin", "operator"]
