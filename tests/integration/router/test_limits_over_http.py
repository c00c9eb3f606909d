"""Limits over HTTP: two ingresses and two routers on one bus, with a clock that the test sets, and a worker that answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts import client_token, frames
from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken
from keyferry.contracts.topology import ATTEMPT_RUN, CLIENT_TOKENS_VIEW, Role, worker_id
from keyferry.contracts.usage import Outcome
from services.ingress.app import create_app
from services.ingress.settings import IngressSettings
from tests.integration.router.processes import TIMEOUT_SECONDS, RouterServers
from tests.integration.router.test_limits import Clock, acme, routers
from tests.support.servers.ports import find_free_port
from tests.support.vault.grants import new_key
from tests.support.waiting import eventually_async

PEPPER = "a-pepper-of-forty-characters-for-a-test-01"
COMPLETION = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"echo","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
)
CALLERS = 8
"""Callers at each ingress, which send one request after the other."""


def make_pepper(folder: Path) -> Path:
    """Return a file with the pepper."""
    file = folder / "pepper"
    file.write_text(PEPPER)
    return file


async def answer(worker: Client) -> None:
    """Answer every attempt, as a worker does."""

    async def on_attempt(message: Msg) -> None:
        run, _ = AttemptRun.split(message.data)
        accepted = frames.Accepted(
            attempt_id=run.attempt_id,
            instance_id="inst_1",
            attempt_number=run.attempt_number,
            decision_id=run.decision_id,
            provider=run.provider,
            model=run.model,
            key_source=run.key_source,
            rate_limits=run.rate_limits,
        )
        end = frames.End(attempt_id=run.attempt_id, outcome=Outcome.COMPLETED, count=0, payload=COMPLETION)
        for frame in (accepted, end):
            await worker.publish(message.reply, frame.to_frame())

    await worker.subscribe(ATTEMPT_RUN.pattern(), queue=Role.PROVIDER_WORKER.value, cb=on_attempt)
    await worker.flush()


@asynccontextmanager
async def two_ingresses(servers: RouterServers, pepper_file: Path) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Serve two ingresses; yield a client of each, with a token of the tenant `acme`."""
    token = client_token.mint().reveal()
    entry = ClientToken(token_id="tok_1", tenant="acme", label="app", last4=token[-4:], created_at=datetime.now(UTC))
    key = client_token.fingerprint(client_token.digest(token), Secret(PEPPER))
    await servers.fill(CLIENT_TOKENS_VIEW, {key: entry})
    grant_key_file = pepper_file.with_name("grant-key")
    grant_key_file.write_text(new_key().reveal())
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            port = find_free_port()
            settings = IngressSettings(
                nats_url=servers.bus.nats_url,
                nats_nkey_file=servers.bus.seed_file(Role.INGRESS),
                http_port=port,
                token_pepper_file=pepper_file,
                grant_key_file=grant_key_file,
                drain_seconds=5,
            )
            ingress = create_app(settings)
            life = asyncio.create_task(ingress.run())
            stack.push_async_callback(asyncio.wait_for, life, TIMEOUT_SECONDS)
            stack.callback(ingress.app.exit)
            headers = {"authorization": f"Bearer {token}"}
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=TIMEOUT_SECONDS)
            clients.append(await stack.enter_async_context(client))
        for client in clients:
            await eventually_async("it is ready", partial(is_ready, client))
        yield clients


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx.TransportError:
        return False


async def ask(client: httpx.AsyncClient) -> httpx.Response:
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
    return await client.post("/v1/chat/completions", json=body)


async def test_100_of_500_requests_in_one_window_pass_and_the_rest_say_when_to_come_back(
    servers: RouterServers, tmp_path: Path
) -> None:
    clock, left_ms = Clock(), 41_000
    pepper_file = make_pepper(tmp_path)
    clock.now -= left_ms / 1000
    async with (
        routers(servers, clock, acme(rpm=100)),
        servers.bus.client(worker_id(1)) as worker,
        two_ingresses(servers, pepper_file) as clients,
    ):
        await answer(worker)
        answers: list[httpx.Response] = []
        numbers = iter(range(500))

        async def call(client: httpx.AsyncClient) -> None:
            for _ in numbers:
                answers.append(await ask(client))

        await asyncio.gather(*(call(client) for client in clients for _ in range(CALLERS)))
        assert Counter(each.status_code for each in answers) == {200: 100, 429: 400}
        for each in answers:
            assert each.headers["x-ratelimit-limit-requests"] == "100"
            if each.status_code == 429:
                assert each.headers["x-ratelimit-remaining-requests"] == "0"
                assert each.headers["retry-after-ms"] == str(left_ms)
                assert each.headers["retry-after"] == "41"
                assert each.json()["error"]["code"] == "rate_limit_exceeded"
        clock.now += left_ms / 1000
        assert [(await ask(client)).status_code for client in clients] == [200, 200]
