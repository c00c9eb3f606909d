"""Every documented route x every role: allowed or denied exactly as the table says, and in no tenant but the principal's own.

Bodies are the examples of the OpenAPI document, so that what is allowed comes as far as the services.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.envelope import Message
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import PLATFORM_TENANT, ClientToken, ClientTokens, Tenant, Tier
from keyferry.contracts.topology import SUBJECTS, TENANT_GET, TOKEN_LIST
from services.console.access import ALLOWED, COMMANDS_PATH, OPERATOR_PREFIX
from services.console.authentication import Principal
from services.console.self_access import SELF_ROUTES
from tests.unit.console.people import ROLES, person
from tests.unit.console.surface import NOW, Surface, error, openapi_document, stored
from tests.unit.console.test_access import ROUTES, TOKEN_ID, fill_path

OTHERS = ("acme", "globex")
"""Two tenants: that of the objects in the paths, and another one."""
PRINCIPALS = [person(role, tenant) for role in TENANT_ROLES for tenant in OTHERS] + [person(AccessRole.OPERATOR)]


def name_of(principal: Principal) -> str:
    return f"{principal.role} of {principal.tenant}"


def example_of(method: str, path: str) -> Any:
    """Return a body that the route accepts, or None if it takes none."""
    document = openapi_document()
    operation = document["paths"][path][method.lower()]
    if "requestBody" not in operation:
        return None
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return document["components"]["schemas"][reference.rpartition("/")[2]]["examples"][0]


def counting(principal: Principal | None) -> Surface:
    """Return a console whose services all refuse, after they have been asked."""
    surface = Surface(principal=principal)
    for subject in SUBJECTS:
        surface.bus.answers(subject, Refusal(code=ErrorCode.CONFLICT, message="this is the service"))
    del surface.bus.owners["access.record"]
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="A", tier=Tier.FREE))
    surface.store(stored())
    token = ClientToken(token_id=TOKEN_ID, tenant="acme", label="x", last4="abcd", created_at=NOW, member="ann")
    surface.bus.answers(TOKEN_LIST, ClientTokens(tokens=[token]))
    return surface


def tenants_of(asked: list[tuple[str, Message]]) -> Iterator[object]:
    for _, question in asked:
        if "tenant" in type(question).model_fields:
            yield question.tenant  # type: ignore[attr-defined]  # it is one of the fields


@pytest.mark.parametrize("principal", PRINCIPALS, ids=name_of)
async def test_a_route_is_allowed_exactly_as_the_table_says(principal: Principal) -> None:
    surface, reached = counting(principal), 0
    for method, path in ROUTES:
        if path == COMMANDS_PATH or (method, path) in SELF_ROUTES:  # about the sender, who needs a session
            continue
        answer = await surface.ask(method, fill_path(path), example_of(method, path))
        if principal.role not in ALLOWED[method, path]:
            assert error(answer) == (403, "not_allowed", None), (method, path)
            assert surface.bus.asked == [], f"{method} {path} is denied and reaches a service"
            continue
        assert answer.status_code not in (401, 403), (method, path, answer.text)
        reached += bool(surface.bus.asked)
        if principal.role is not AccessRole.OPERATOR:
            assert set(tenants_of(surface.bus.asked)) <= {principal.tenant}, (method, path)
        elif path.startswith(f"{OPERATOR_PREFIX}/"):
            assert set(tenants_of(surface.bus.asked)) <= {"acme"}, (method, path)
        surface.bus.asked.clear()
    assert reached > 20, "the examples reach the services"


async def test_without_a_credential_nothing_is_reached() -> None:
    """The same holds for a session that was revoked and for a member who is suspended: they have no principal."""
    surface = counting(None)
    for method, path in ROUTES:
        answer = await surface.ask(method, fill_path(path), example_of(method, path), headers={})
        assert error(answer) == (401, "invalid_api_key", None)
    assert surface.bus.asked == []


async def test_a_member_of_two_tenants_acts_for_the_one_that_was_chosen() -> None:
    """With the role that it has there."""
    for tenant, role in (("acme", AccessRole.VIEWER), ("globex", AccessRole.OWNER)):
        surface = counting(person(role, tenant))
        assert (await surface.ask("GET", "/api/v1/budgets")).status_code == 409
        assert set(tenants_of(surface.bus.asked)) == {tenant}
        surface.bus.asked.clear()
        answer = await surface.ask("DELETE", "/api/v1/budgets/bud_00000000000000000000000001")
        assert answer.status_code == (403 if role is AccessRole.VIEWER else 409)
        assert len(surface.bus.asked) == (role is AccessRole.OWNER)


def test_nobody_has_a_role_that_the_matrix_does_not_try() -> None:
    assert set(ROLES) == set(AccessRole)
    assert {principal.role for principal in PRINCIPALS} == set(AccessRole)
    assert all(principal.tenant != PLATFORM_TENANT or principal.role is AccessRole.OPERATOR for principal in PRINCIPALS)
