"""Who acts for a suspended tenant; operators are distinguished, and an unreadable entry counts as suspended."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import Member
from keyferry.contracts.sessions import Session
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANT_GET
from keyferry.runtime.http.problem import HttpProblem
from keyferry.runtime.views import KvView
from services.console.authentication import OPERATOR, Principal
from services.console.sign_in.session_index import SessionIndex
from tests.unit.console.people import person
from tests.unit.console.surface import NOW, Surface, error, stored


class Tenants:
    """The view of tenants: acme is suspended, globex is not, and initech's entry cannot be read."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready
        self.unreadable = {"initech": "not JSON"}

    def get(self, tenant: str) -> Tenant | None:
        if tenant not in ("acme", "globex"):
            return None
        return Tenant(tenant=tenant, name=tenant, tier=Tier.FREE, suspended=tenant == "acme")


async def _touch(_: object) -> None:
    """Take the report."""


def index(tenants: Tenants) -> SessionIndex:
    members = SimpleNamespace(ready=True, on_entry_change=lambda _: None)
    sessions = SimpleNamespace(ready=True)
    return SessionIndex(
        cast(KvView[Session], sessions), cast(KvView[Member], members), cast(Any, tenants), _touch, lambda: NOW
    )


def test_a_tenant_counts_as_suspended_by_the_view_and_if_its_entry_cannot_be_read() -> None:
    found = index(Tenants())
    states = {name: found.is_suspended(name) for name in ("acme", "globex", "initech", "nobody")}
    assert states == {"acme": True, "globex": False, "initech": True, "nobody": False}


def test_nobody_is_let_in_before_it_is_known_who_is_suspended() -> None:
    found = index(Tenants(ready=False))
    assert not found.ready
    with pytest.raises(HttpProblem) as caught:
        found.is_suspended("globex")
    assert (caught.value.status, caught.value.code) == (503, "unavailable")


@pytest.mark.parametrize("role", [AccessRole.OWNER, AccessRole.VIEWER])
async def test_a_member_of_a_suspended_tenant_gets_no_route_and_no_command(role: AccessRole) -> None:
    known = person(role)
    member = Principal(known.role, known.tenant, known.actor, known.member, suspended=True)
    for method, path in (
        ("GET", "/api/v1/provider-keys"),
        ("PUT", "/api/v1/privacy"),
        ("GET", "/api/v1/export"),
        ("POST", "/api/v1/commands/key.list"),
    ):
        surface = Surface(principal=member)
        answer = await surface.ask(method, path, {} if method != "GET" else None)
        assert error(answer)[:2] == (403, "tenant_suspended"), path
        assert surface.bus.asked == []


async def test_an_operator_who_is_also_a_member_still_operates() -> None:
    both = Principal(AccessRole.OWNER, "acme", "usr_ada", "mem_ada", operates=True, suspended=True)
    surface = Surface(principal=both)
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="A", tier=Tier.FREE, suspended=True))
    surface.store(stored())
    assert (await surface.ask("GET", "/api/v1/ops/tenants/acme/provider-keys")).status_code == 200
    assert error(await surface.ask("GET", "/api/v1/provider-keys"))[:2] == (403, "tenant_suspended")
    assert not OPERATOR.suspended
