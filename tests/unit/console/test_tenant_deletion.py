"""Deleting a tenant over HTTP."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.erasure import DeleteTenant, GetDeletion, TenantDeletion
from keyferry.contracts.erasure_management import TENANT_DELETE, TENANT_DELETION_GET
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANT_GET
from tests.unit.console.surface import Surface

OPS = "/api/v1/ops"
REPORT = TenantDeletion(
    tenant="acme",
    requested_at=datetime(2026, 11, 30, tzinfo=UTC),
    requested_by="console:operator",
    parts=[],
    elsewhere=["backups"],
)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", f"{OPS}/tenants/acme"), ("POST", f"{OPS}/tenants/acme/tenant/delete")]
)
async def test_a_deletion_begins_with_the_name_as_confirmation(method: str, path: str) -> None:
    surface = Surface()
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="Acme", tier=Tier.STARTER))
    surface.bus.answers(TENANT_DELETE, REPORT)
    begun = await surface.ask(method, path, {"confirm": "acme"})
    assert (begun.status_code, begun.json()) == (202, REPORT.model_dump(mode="json"))
    asked = [question for name, question in surface.bus.asked if name == TENANT_DELETE.name]
    assert asked == [DeleteTenant(tenant="acme", confirm="acme", actor="console:operator")]
    assert (await surface.ask(method, path, {})).status_code == 422
    surface.bus.answers(TENANT_DELETE, Refusal(code=ErrorCode.INVALID, message="confirm with the same name"))
    refused = await surface.ask(method, path, {"confirm": "globex"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (422, "confirm with the same name")


async def test_the_report_is_read() -> None:
    surface = Surface()
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="Acme", tier=Tier.STARTER))
    surface.bus.answers(TENANT_DELETION_GET, REPORT)
    found = await surface.ask("GET", f"{OPS}/tenants/acme/tenant/deletion")
    assert (found.status_code, found.json()["elsewhere"]) == (200, ["backups"])
    assert (TENANT_DELETION_GET.name, GetDeletion(tenant="acme")) in surface.bus.asked
