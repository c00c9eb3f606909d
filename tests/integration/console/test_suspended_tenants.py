"""Members of a suspended tenant, at the console with the tenant directory and PostgreSQL behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts import session_token
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.sessions import ClaimedMembership, SessionChannel, StartSession
from keyferry.contracts.sign_in_management import SESSION_START
from keyferry.contracts.tenancy import UpdateTenant
from keyferry.contracts.topology import TENANT_UPDATE
from keyferry.sealing.private_keys import public_key_text
from tests.integration.console.console import Console, console
from tests.integration.tenant_directory.conftest import servers as servers
from tests.integration.tenant_directory.processes import DirectoryServers, Operator
from tests.support.waiting import eventually_async

TENANT = "x-keyferry-tenant"


@pytest.fixture
async def operator(servers: DirectoryServers) -> AsyncIterator[Operator]:
    async with servers.process(), servers.operator() as operator:
        yield operator


@pytest.fixture
async def face(operator: Operator, servers: DirectoryServers, tmp_path: Path) -> AsyncIterator[Console]:
    pinned = public_key_text(X25519PrivateKey.generate())
    async with console(servers.bus, tmp_path, pinned, records=False) as found:
        yield found


async def _sign_in(operator: Operator, *tenants: str) -> str:
    """Start a session of an owner of `tenants`; return its token."""
    token = session_token.mint().reveal()
    command = StartSession(
        digest=session_token.digest(token),
        issuer="https://id.example.com",
        subject="ada",
        name="Ada",
        email="ada@example.com",
        memberships=[ClaimedMembership(tenant=tenant, role=AccessRole.OWNER) for tenant in tenants],
        channel=SessionChannel.BROWSER,
        idle_seconds=3600,
        max_seconds=86400,
    )
    await operator.ask(SESSION_START, command)
    return token


async def test_members_of_a_suspended_tenant_neither_read_nor_change_it(operator: Operator, face: Console) -> None:
    for tenant in ("acme", "globex"):
        await operator.create_tenant(tenant)
    headers = {"authorization": f"Bearer {await _sign_in(operator, 'acme', 'globex')}"}

    async def ask(tenant: str, method: str = "GET", path: str = "/members", **more: object) -> httpx.Response:
        return await face.client.request(
            method, f"/api/v1{path}", headers=headers | {TENANT: tenant}, json=more.get("body")
        )

    async def answered(tenant: str, status: int) -> bool:
        return (await ask(tenant)).status_code == status

    await eventually_async("the session is known", lambda: answered("acme", 200))
    await operator.ask(TENANT_UPDATE, UpdateTenant(tenant="acme", suspended=True))
    await eventually_async("acme's members are shut out", lambda: answered("acme", 403))
    for refused in (
        await ask("acme"),
        await ask("acme", "POST", "/teams", body={"team": "late"}),
        await ask("acme", "POST", "/commands/member.list", body={}),
    ):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (403, "tenant_suspended")
        assert "operator" in error["message"]
    assert (await ask("acme", path="/session")).json()["tenant"] == "acme", "who they are, they may still read"
    assert (await ask("acme", path="/tenant/deletion")).json()["error"]["code"] != "tenant_suspended"
    assert await answered("globex", 200), "the same session acts for the other tenant"
    by_operator = await face.client.get("/api/v1/ops/tenants/acme/members")
    assert by_operator.status_code == 200, "operators go on"

    await face.client.patch("/api/v1/ops/tenants/acme", json={"suspended": False})
    await eventually_async("acme's members are back", lambda: answered("acme", 200))
