"""Routes about Lago: a misspelt tenant is a 404 and leaves nothing behind."""

import pytest

from keyferry.contracts.lago_management import LAGO_BACKFILL, LAGO_CUSTOMER_SAVE
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANT_GET, AnySubject
from tests.unit.console.surface import Surface, error

BACKFILL = {"tenant": "acme", "since": "2026-11-01", "until": "2026-11-02"}
REQUESTS = [
    ("PUT", "/api/v1/ops/billing/lago/customers/acme", {"skipped": True}, LAGO_CUSTOMER_SAVE),
    ("POST", "/api/v1/ops/billing/lago/backfill", BACKFILL, LAGO_BACKFILL),
]


@pytest.mark.parametrize(("method", "path", "body", "subject"), REQUESTS)
async def test_the_tenant_has_to_exist(method: str, path: str, body: dict[str, object], subject: AnySubject) -> None:
    surface = Surface()
    surface.bus.answers(TENANT_GET, Refusal(code=ErrorCode.NOT_FOUND, message="there is no such tenant"))
    surface.bus.answers(subject, Refusal(code=ErrorCode.CONFLICT, message="this is the billing"))
    assert error(await surface.ask(method, path, body)) == (404, "not_found", None)
    assert [name for name, _ in surface.bus.asked] == [TENANT_GET.name]


@pytest.mark.parametrize(("method", "path", "body", "subject"), REQUESTS)
async def test_for_a_tenant_that_exists_the_billing_is_asked(
    method: str, path: str, body: dict[str, object], subject: AnySubject
) -> None:
    surface = Surface()
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="Acme", tier=Tier.FREE))
    surface.bus.answers(subject, Refusal(code=ErrorCode.CONFLICT, message="this is the billing"))
    assert error(await surface.ask(method, path, body))[0] == 409
    assert [name for name, _ in surface.bus.asked] == [TENANT_GET.name, subject.name]


@pytest.mark.parametrize(
    "day", ["2026-11-1", "20261101", "2026-11-01T00:00:00Z", "1767225600", 1767225600, "2026-02-30", ""]
)
async def test_a_day_is_written_as_one(day: object) -> None:
    surface = Surface()
    response = await surface.ask("POST", "/api/v1/ops/billing/lago/backfill", {**BACKFILL, "since": day})
    assert error(response) == (422, "invalid_value", "since")
    assert surface.bus.asked == []
