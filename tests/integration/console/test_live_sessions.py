"""Live events of people who have signed in: of one of their tenants, for as long as their session and their access last."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.console.sign_in_site import Place, place
from tests.integration.tenant_directory.conftest import servers as servers
from tests.integration.tenant_directory.processes import DirectoryServers
from tests.support.clients.event_stream import TIMEOUT_SECONDS, events
from tests.support.oidc.browser import Browser

MEMBERS = "/api/v1/ops/tenants/acme/members"


@pytest.fixture
async def here(servers: DirectoryServers, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(servers, tmp_path) as found:
        yield found


async def signed_in(here: Place, browser: Browser, name: str) -> tuple[httpx.AsyncClient, dict[str, Any]]:
    """Return a client with the cookie of a session, and the session."""
    answer = await browser.sign_in(here.login_url(return_to="/api/v1/models"), name, stop_at=f"{here.url}/api")
    cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith("sid="))
    session = await here.session_of(browser)
    headers = {"cookie": cookie.partition(";")[0]}
    return httpx.AsyncClient(base_url=here.url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False), session


async def test_a_browser_names_its_tenant_in_the_url(here: Place) -> None:
    async with Browser() as browser:
        client, _ = await signed_in(here, browser, "ada")
        async with client:
            assert (await client.get("/api/v1/events")).status_code == 403, "it is a member of two tenants"
            for foreign in ("foreign", "nosuch", "platform"):
                assert (await client.get(f"/api/v1/events?tenant={foreign}")).status_code == 404
            other = {"x-keyferry-tenant": "acme"}
            assert (await client.get("/api/v1/events?tenant=initech", headers=other)).status_code == 404
            assert (await client.get("/api/v1/models?tenant=acme")).status_code in (400, 403), "only events have it"
            assert (await client.get("/api/v1/ops/events")).status_code == 403
            for tenant in ("acme", "initech"):
                async with events(client, f"/api/v1/events?tenant={tenant}") as reader:
                    ready = (await reader.expect("ready")).data
                    assert (ready["tenant"], ready["role"]) == (tenant, "admin")


async def test_a_member_gets_what_its_role_may_read_until_that_changes(here: Place) -> None:
    async with Browser() as browser, Browser() as another:
        viewer, session = await signed_in(here, browser, "vera")
        admin, _ = await signed_in(here, another, "ada")
        async with viewer, admin:
            assert (await viewer.get("/api/v1/events?topics=tokens")).status_code == 403
            async with (
                events(viewer, "/api/v1/events") as reader,
                events(admin, "/api/v1/events?tenant=acme&topics=tokens,members") as theirs,
            ):
                ready = (await reader.expect("ready")).data
                assert "tokens" not in ready["topics"]
                assert (ready["tenant"], ready["role"]) == ("acme", "viewer")
                assert (await theirs.expect("ready")).data["topics"] == ["members", "tokens"]
                made = await here.face.client.post("/api/v1/ops/tenants/acme/client-tokens", json={"label": "x"})
                assert made.status_code == 201
                changed = (await theirs.expect("tokens")).data
                assert (changed["action"], changed["target"]) == ("token.create", made.json()["token_id"])
                [member] = [each["member_id"] for each in session["memberships"] if each["tenant"] == "acme"]
                answer = await here.face.client.patch(f"{MEMBERS}/{member}", json={"role": "developer"})
                assert answer.status_code == 200
                assert (await theirs.expect("members")).data["action"] == "member.update"
                found = await reader.rest()
                assert found[-1].name == "closing"
                assert found[-1].data == {"reason": "access_changed"}
                assert {each.name for each in found} <= {"members", "closing"}


async def test_a_session_that_ends_loses_its_streams(here: Place) -> None:
    async with Browser() as browser:
        viewer, session = await signed_in(here, browser, "vera")
        async with viewer, events(viewer, "/api/v1/events?topics=health") as reader:
            await reader.expect("ready")
            [member] = [each["member_id"] for each in session["memberships"]]
            answer = await here.face.client.delete(f"{MEMBERS}/{member}/sessions")
            assert answer.status_code == 200, answer.text
            assert [(each.name, each.data) for each in await reader.rest()] == [
                ("closing", {"reason": "session_ended"})
            ]
            assert (await viewer.get("/api/v1/events")).status_code == 401


async def test_members_of_a_suspended_tenant_lose_their_streams(here: Place) -> None:
    async with Browser() as browser:
        viewer, _ = await signed_in(here, browser, "vera")
        async with viewer, events(viewer, "/api/v1/events?topics=health") as reader:
            await reader.expect("ready")
            answer = await here.face.client.patch("/api/v1/ops/tenants/acme", json={"suspended": True})
            assert answer.status_code == 200, answer.text
            assert [each.data for each in await reader.rest()] == [{"reason": "access_changed"}]
