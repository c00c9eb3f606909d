"""Client tokens at two ingresses: changes reach both, and garbage reaches neither the bus nor the database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from keyferry.contracts import client_token
from keyferry.contracts.client_token_management import TOKEN_ROTATE
from keyferry.contracts.client_token_use import RotateClientToken
from keyferry.contracts.tenancy import ListClientTokens, UpdateClientToken
from keyferry.contracts.topology import TOKEN_LIST, TOKEN_UPDATE, Role
from keyferry.runtime.process.lifecycle import Service
from services.ingress.app import create_app
from services.ingress.settings import IngressSettings
from tests.integration.tenant_directory.processes import TIMEOUT_SECONDS, DirectoryServers, Operator
from tests.support.servers.ports import find_free_port
from tests.support.vault.grants import new_key
from tests.support.waiting import eventually_async

CALLERS = 8


@asynccontextmanager
async def two_ingresses(servers: DirectoryServers) -> AsyncIterator[list[tuple[Service, httpx.AsyncClient]]]:
    grant_key_file = servers.pepper_file.with_name("grant-key")
    grant_key_file.write_text(new_key().reveal())
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            port = find_free_port()
            ingress = create_app(
                IngressSettings(
                    nats_url=servers.bus.nats_url,
                    nats_nkey_file=servers.bus.seed_file(Role.INGRESS),
                    http_port=port,
                    token_pepper_file=servers.pepper_file,
                    grant_key_file=grant_key_file,
                    token_use_seconds=0.1,
                    drain_seconds=5,
                )
            )
            life = asyncio.create_task(ingress.run())
            stack.push_async_callback(asyncio.wait_for, life, TIMEOUT_SECONDS)
            stack.callback(ingress.app.exit)
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS)
            found.append((ingress, await stack.enter_async_context(client)))
        for _, client in found:
            await eventually_async("it is ready", partial(is_ready, client))
        yield found


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
async def operator(servers: DirectoryServers) -> AsyncIterator[Operator]:
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        yield operator


async def test_every_change_of_a_token_reaches_both_ingresses(servers: DirectoryServers, operator: Operator) -> None:
    first, second = client_token.mint().reveal(), client_token.mint().reveal()
    token, _ = await operator.create_token("acme", client_token.digest(first))
    async with two_ingresses(servers) as ingresses:

        async def treated(secret: str, expected: str) -> None:
            """Wait until both ingresses treat the secret as expected; an accepted one is a 503, as there is no router."""

            async def is_treated(client: httpx.AsyncClient) -> bool:
                answer = await client.get("/v1/models", headers={"authorization": f"Bearer {secret}"})
                return expected in f"{answer.status_code} {answer.text}"

            for _, client in ingresses:
                await eventually_async(expected, partial(is_treated, client))

        def change(**changes: object) -> UpdateClientToken:
            return UpdateClientToken.model_validate({"tenant": "acme", "token_id": token.token_id, **changes})

        await treated(first, "503")
        await operator.ask(TOKEN_UPDATE, change(disabled=True))
        await treated(first, "is disabled")
        await operator.ask(TOKEN_UPDATE, change(disabled=False, allowed_apis=["chat"]))
        await treated(first, "may only be used for chat, and this is models")
        await operator.ask(TOKEN_UPDATE, change(clear=["allowed_apis"]))
        await treated(first, "503")
        rotate = RotateClientToken(
            tenant="acme",
            token_id=token.token_id,
            digest=client_token.digest(second),
            last4=second[-4:],
            overlap_seconds=3600,
        )
        await operator.ask(TOKEN_ROTATE, rotate)
        await treated(second, "503")
        await treated(first, "503")
        third = client_token.mint().reveal()
        again = {"digest": client_token.digest(third), "last4": third[-4:], "overlap_seconds": 0}
        await operator.ask(TOKEN_ROTATE, rotate.model_copy(update=again))
        await treated(third, "503")
        await treated(second, "was rotated")
        await treated(first, "was rotated")

        async def is_recorded() -> bool:
            listed = await operator.ask(TOKEN_LIST, ListClientTokens(tenant="acme"))
            return listed.tokens[0].last_used_at is not None

        await eventually_async("its last use is recorded", is_recorded)
        await operator.revoke(token)
        await treated(third, "has been revoked")


@contextmanager
def recorded_statements() -> Iterator[list[str]]:
    """Collect the SQL statements of every engine in this process."""
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def garbage(number: int) -> str:
    """Return one of several kinds of bad credentials."""
    good = client_token.mint().reveal()
    kinds = (good, f"{good[:-1]}!", good[:-2], f"{good[:20]}{number:026}", "x" * 5000, f"sk-{number}", "é" * 54)
    return kinds[number % len(kinds)]


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.long)])
async def test_garbage_reaches_neither_the_bus_nor_the_database(
    servers: DirectoryServers, operator: Operator, count: int
) -> None:
    async with two_ingresses(servers) as ingresses:
        with recorded_statements() as statements:
            await operator.create_token("acme")
            assert any("client_tokens" in statement for statement in statements), "the statements are seen"
            statements.clear()
            before = [dict(ingress.bus.client.stats) for ingress, _ in ingresses]
            numbers = iter(range(count))
            statuses: set[int] = set()

            async def call(client: httpx.AsyncClient) -> None:
                for number in numbers:
                    headers = {b"authorization": f"Bearer {garbage(number)}".encode("latin-1")}
                    path = ("/v1/models", "/v1/chat/completions")[number % 2]
                    statuses.add((await client.request(("GET", "POST")[number % 2], path, headers=headers)).status_code)

            await asyncio.gather(*(call(client) for _, client in ingresses for _ in range(CALLERS)))
            after = [dict(ingress.bus.client.stats) for ingress, _ in ingresses]
            assert statuses == {401}
            assert [each["out_msgs"] for each in after] == [each["out_msgs"] for each in before]
            assert not [statement for statement in statements if "client_token" in statement]
