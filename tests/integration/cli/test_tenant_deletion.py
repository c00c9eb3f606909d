"""Deleting a tenant from the command line, and its report."""

from datetime import UTC, datetime
from pathlib import Path

from keyferry.contracts.erasure import (
    DeleteTenant,
    DeletionPart,
    ErasedRows,
    GetDeletion,
    TenantDeletion,
    Treatment,
)
from keyferry.contracts.erasure_management import TENANT_DELETE, TENANT_DELETION_GET
from keyferry.contracts.topology import Role
from tests.integration.cli.answering import owner
from tests.integration.cli.command import keyferry, operator_environment
from tests.support.servers.provisioned_bus import ProvisionedBus

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
UNDER_WAY = TenantDeletion(
    tenant="acme",
    requested_at=AT,
    requested_by="operator",
    parts=[DeletionPart(service="router", done=False, tables=[], waits_for="the database cannot be reached")],
    elsewhere=["backups of the tables have what they had"],
)
ROWS = [
    ErasedRows(table="endpoints", treatment=Treatment.REMOVED, found=3, left=0, reason="its own model servers"),
    ErasedRows(table="books", treatment=Treatment.KEPT, found=2, left=2, reason="kept for the books"),
]
FINISHED = UNDER_WAY.model_copy(
    update={"finished_at": AT, "parts": [DeletionPart(service="router", done=True, tables=ROWS)]}
)


async def test_a_deletion_is_confirmed_and_its_report_shown(bus: ProvisionedBus, tmp_path: Path) -> None:
    received: list[DeleteTenant] = []

    async def delete(command: DeleteTenant) -> TenantDeletion:
        received.append(command)
        return UNDER_WAY

    async def report(command: GetDeletion) -> TenantDeletion:
        return FINISHED

    environment = operator_environment(bus)
    async with owner(bus, Role.TENANT_DIRECTORY, TENANT_DELETE, delete):
        unsure = ("tenants", "delete", "acme", "--confirm", "acne")
        refused = await keyferry(*unsure, environment=environment, cwd=tmp_path)
        begun = await keyferry("tenants", "delete", "acme", "--confirm", "acme", environment=environment, cwd=tmp_path)
    async with owner(bus, Role.TENANT_DIRECTORY, TENANT_DELETION_GET, report):
        shown = await keyferry("tenants", "deletion-report", "acme", environment=environment, cwd=tmp_path)
    assert refused.status == 1
    assert "nothing was deleted" in refused.err
    assert received == [DeleteTenant(tenant="acme", confirm="acme")]
    assert (begun.status, begun.err) == (0, "")
    assert "router: under way: the database cannot be reached" in begun.out
    assert "`keyferry tenants deletion-report acme` shows how far it is" in begun.out
    assert "finished at 2026-11-30 12:00:00 UTC" in shown.out
    assert all(text in shown.out for text in ("its own model servers", "kept for the books", "- backups of the tables"))
