"""Tiers, and the limits of tenants and client tokens, over HTTP."""

import pytest

from keyferry.contracts.limits import LimitChanges, Limits
from keyferry.contracts.tenancy import (
    ClientToken,
    CreateClientToken,
    CreateTenant,
    Tenant,
    Tier,
    UpdateClientToken,
    UpdateTenant,
)
from keyferry.contracts.tiers import GetTiers
from keyferry.contracts.topology import TENANT_CREATE, TENANT_UPDATE, TIER_LIST, TOKEN_CREATE, TOKEN_UPDATE
from tests.support.router.limits import TIERS
from tests.unit.console.surface import KEY, NOW, Surface, error

OPS = "/api/v1/ops"
ACME = f"{OPS}/tenants/acme"
TENANT = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER, limits=Limits(rpm=7))
TOKEN_ID = f"tok_{'0' * 26}"
TOKEN = ClientToken(
    token_id=TOKEN_ID, tenant="acme", label="app", last4="abcd", created_at=NOW, limits=Limits(concurrency=2)
)
ACTOR = "console:operator"


@pytest.mark.parametrize("base", ["/api/v1", ACME])
async def test_the_tiers_are_listed_lowest_first(base: str) -> None:
    surface = Surface()
    surface.bus.answers(TIER_LIST, TIERS.table)
    shown = (await surface.ask("GET", f"{base}/tiers")).json()
    assert [row["tier"] for row in shown["tiers"]] == ["free", "starter", "professional", "enterprise"]
    assert shown["tiers"][1]["limits"] == {"rpm": 100, "tpm": 100_000, "concurrency": 20}
    assert surface.bus.asked[-1][1] == GetTiers()


async def test_limits_of_a_tenant_are_set_when_it_is_created_and_changed() -> None:
    surface = Surface()
    surface.bus.answers(TENANT_CREATE, TENANT)
    surface.bus.answers(TENANT_UPDATE, TENANT)
    body = {"tenant": "acme", "limits": {"rpm": 7}}
    assert (await surface.ask("POST", f"{OPS}/tenants", body)).json()["limits"]["rpm"] == 7
    assert (await surface.ask("PATCH", ACME, {"limits": {"rpm": "default", "tpm": "unlimited"}})).status_code == 200
    assert [asked for _, asked in surface.bus.asked] == [
        CreateTenant(tenant="acme", name="acme", limits=LimitChanges(rpm=7), actor=ACTOR),
        UpdateTenant(tenant="acme", limits=LimitChanges(rpm="default", tpm="unlimited"), actor=ACTOR),
    ]


async def test_limits_of_a_client_token_are_set_when_it_is_created_and_changed() -> None:
    surface = Surface()
    surface.bus.answers(TOKEN_CREATE, TOKEN)
    surface.bus.answers(TOKEN_UPDATE, TOKEN)
    created = await surface.ask("POST", f"{ACME}/client-tokens", {"label": "app", "limits": {"concurrency": 2}})
    assert created.json()["limits"]["concurrency"] == 2
    command = surface.bus.asked[-1][1]
    assert isinstance(command, CreateClientToken)
    assert command.limits == LimitChanges(concurrency=2)
    changed = await surface.ask("PATCH", f"{ACME}/client-tokens/{TOKEN_ID}", {"limits": {"concurrency": 2}})
    assert changed.json()["limits"]["concurrency"] == 2
    assert surface.bus.asked[-1][1] == UpdateClientToken(
        tenant="acme", token_id=TOKEN_ID, limits=LimitChanges(concurrency=2), actor=ACTOR
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"{OPS}/tenants"), ("PATCH", ACME), ("PATCH", f"{ACME}/client-tokens/{TOKEN_ID}")],
)
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"rpm": 0}, (422, "invalid_value")),
        ({"rpm": -1}, (422, "invalid_value")),
        ({"rpm": True}, (422, "invalid_value")),
        ({"rpm": "10"}, (422, "invalid_value")),
        ({"rpm": 1.5}, (422, "invalid_value")),
        ({"rpm": 10**40}, (422, "invalid_value")),
        ({"rpm": "none\x00"}, (422, "invalid_value")),
        ({"rpm": KEY}, (422, "invalid_value")),
        ({"rpm": "x" * 10_000}, (422, "invalid_value")),
        ({"rps": 1}, (400, "unknown_field")),
        ("unlimited", (422, "invalid_value")),
        ([1], (422, "invalid_value")),
    ],
)
async def test_what_is_no_limit_is_refused_before_a_service_is_asked(
    method: str, path: str, limits: object, expected: tuple[int, str]
) -> None:
    surface = Surface()
    body = {"limits": limits} | ({"tenant": "acme"} if method == "POST" else {})
    response = await surface.ask(method, path, body)
    assert error(response)[:2] == expected
    assert KEY not in response.text
    assert surface.bus.asked == []
