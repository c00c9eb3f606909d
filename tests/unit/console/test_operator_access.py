"""What operators read of a tenant is recorded in its audit log first."""

import pytest

from keyferry.contracts.access_management import ACCESS_RECORD, RecordAccess
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import Tenant, Tenants, Tier
from keyferry.contracts.topology import KEY_REMOVE, TENANT_GET, TENANT_LIST
from services.console.access import ALLOWED, OPERATOR_PREFIX, OWN_PREFIX
from services.console.command_access import AVAILABLE, COMMANDS
from services.console.command_routes import BY_NAME
from tests.unit.console.people import person
from tests.unit.console.surface import Surface, error, stored
from tests.unit.console.test_access import fill_path

ACME = "/api/v1/ops/tenants/acme"
_READING_POSTS = {
    "/alerts/rules/preview",
    "/provider-keys/test",
    "/provider-keys/{key_id}/test",
    # These send something and store nothing.
    "/notification-channels/{channel_id}/test",
    "/webhooks/{endpoint_id}/test",
    "/reports/{report_id}/send",
    "/estimates",
    "/routing/explain",
    "/preferences/preview",
    "/routing/rules/diff",
    "/routing/rules/dry-run",
}


def operators() -> Surface:
    surface = Surface()
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="A", tier=Tier.FREE))
    surface.store(stored())
    return surface


def recorded(resource: str) -> RecordAccess:
    return RecordAccess(tenant="acme", actor="console:operator", resource=resource, source="127.0.0.1")


async def test_a_read_is_recorded_with_what_and_from_where() -> None:
    surface = operators()
    assert (await surface.ask("GET", f"{ACME}/provider-keys")).status_code == 200
    assert (await surface.ask("POST", "/api/v1/commands/key.list", {"tenant": "acme"})).status_code == 200
    assert surface.accesses == [recorded("provider-keys")] * 2


async def test_every_route_that_reads_a_tenant_is_recorded() -> None:
    """And those that store a change are not: their services record the change itself."""
    for method, template in ALLOWED:
        if not template.startswith(f"{OPERATOR_PREFIX}/"):
            continue
        surface = operators()
        await surface.ask(method, fill_path(template))
        path = template.removeprefix(OPERATOR_PREFIX)
        reads = method == "GET" or path in _READING_POSTS
        assert surface.accesses == ([recorded(path.split("/")[1])] if reads else []), (method, path)


async def test_every_command_that_reads_a_tenant_is_recorded() -> None:
    checked = 0
    for name in AVAILABLE:
        fields = BY_NAME[name].message.model_fields
        if "tenant" not in fields or any(field.is_required() for key, field in fields.items() if key != "tenant"):
            continue
        surface = operators()
        if (await surface.ask("POST", f"/api/v1/commands/{name}", {"tenant": "acme"})).status_code == 422:
            continue
        checked += 1
        assert len(surface.accesses) == (1 if COMMANDS[name].recorded else 0), name
    assert checked >= 15


async def test_without_a_record_nothing_is_read() -> None:
    for refusal in (None, Refusal(code=ErrorCode.UNAVAILABLE, message="no database")):
        surface = operators()
        if refusal is not None:
            surface.bus.answers(ACCESS_RECORD, refusal)
        else:
            surface.bus.answers(ACCESS_RECORD, _nobody)
        for method, path, body in (
            ("GET", f"{ACME}/provider-keys", None),
            ("POST", "/api/v1/commands/key.list", {"tenant": "acme"}),
        ):
            answer = await surface.ask(method, path, body)
            assert error(answer) == (503, "unavailable", None)
        assert "key.list" not in [name for name, _ in surface.bus.asked]
        surface.bus.answers(KEY_REMOVE, Refusal(code=ErrorCode.NOT_FOUND, message="none"))
        assert (await surface.ask("DELETE", f"{ACME}/provider-keys/key_0001")).status_code == 404


def _nobody(_: object) -> Refusal:
    return Refusal(code=ErrorCode.UNAVAILABLE, message="nobody")


async def test_who_may_not_read_leaves_no_record() -> None:
    surface = operators()
    surface.principal = person(AccessRole.OWNER)
    assert (await surface.ask("GET", f"{ACME}/provider-keys")).status_code == 403
    assert surface.bus.asked == []
    assert (await surface.ask("GET", "/api/v1/provider-keys")).status_code == 200
    assert (await surface.ask("POST", "/api/v1/commands/key.list", {})).status_code == 200
    assert surface.accesses == [], "members read their own tenant"


@pytest.mark.parametrize("path", [f"{OWN_PREFIX}/provider-keys", f"{OWN_PREFIX}/ops/tenants"])
async def test_the_installation_itself_is_nobodys_tenant(path: str) -> None:
    surface = operators()
    surface.bus.answers(TENANT_LIST, Tenants(tenants=[]))
    assert (await surface.ask("GET", path)).status_code == 200
    assert surface.accesses == []


async def test_a_tenant_that_does_not_exist_has_no_record() -> None:
    surface = operators()
    surface.bus.answers(TENANT_GET, Refusal(code=ErrorCode.NOT_FOUND, message="there is no tenant 'acme'"))
    assert (await surface.ask("GET", f"{ACME}/provider-keys")).status_code == 404
    assert surface.accesses == []
