"""What needs a step-up, as a route and as a command: whatever changes or destroys provider keys."""

from dataclasses import replace

import pytest

from keyferry.contracts.access_role import AccessRole
from services.console.access import ALLOWED
from services.console.self_access import STEP_UP
from services.console.sign_in.step_up import RFC_ERROR
from tests.unit.console.people import person
from tests.unit.console.surface import Surface, error

CHALLENGE = 'Bearer error="insufficient_user_authentication"'
CONFIRMED = {"confirm": "acme"}


@pytest.mark.parametrize(
    ("role", "method", "path", "body"),
    [
        (AccessRole.OWNER, "POST", "/api/v1/tenant/delete", CONFIRMED),
        (AccessRole.OWNER, "POST", "/api/v1/commands/tenant.delete", CONFIRMED),
        (AccessRole.OWNER, "POST", "/api/v1/vault/shred", CONFIRMED),
        (AccessRole.OWNER, "POST", "/api/v1/commands/vault.shred", CONFIRMED),
        (AccessRole.OPERATOR, "DELETE", "/api/v1/ops/tenants/acme", CONFIRMED),
        (AccessRole.OPERATOR, "POST", "/api/v1/ops/tenants/acme/tenant/delete", CONFIRMED),
        (AccessRole.OPERATOR, "POST", "/api/v1/commands/tenant.delete", {"tenant": "acme", **CONFIRMED}),
    ],
)
async def test_destroying_keys_needs_a_step_up(role: AccessRole, method: str, path: str, body: dict[str, str]) -> None:
    surface = Surface(principal=replace(person(role), step_up=CHALLENGE))
    answer = await surface.ask(method, path, body)
    assert error(answer) == (401, RFC_ERROR, None)
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert surface.bus.asked == []


def test_the_routes_that_need_it_exist() -> None:
    assert set(ALLOWED) >= STEP_UP
