"""Limits over two routers, on the bus server's own counters, with a clock that the test sets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Network

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, ChatRequest
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from keyferry.contracts.limit_counters import EPOCH_MS, INCREMENT_HEADER, settle
from keyferry.contracts.limits import Limits
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import (
    ATTEMPT_RUN,
    CHAT_REQUEST,
    LIMIT_COUNTED,
    PROVIDER_KEYS_VIEW,
    TENANTS_VIEW,
    Role,
    worker_id,
)
from services.router.app import create_app
from services.router.settings import RouterSettings
from tests.integration.router.processes import RouterServers
from tests.support.router.limits import MemoryCounters
from tests.support.servers.provisioned_bus import until_subscribed
from tests.support.waiting import eventually

FAR_AWAY_UNIX_MS = 4_000_000_000_000
TIMEOUT_SECONDS = 30.0
UNLIMITED = Limits(rpm="unlimited", tpm="unlimited", concurrency="unlimited")


def acme(**limits: int) -> Tenant:
    return Tenant(tenant="acme", name="Acme", tier=Tier.STARTER, limits=UNLIMITED.model_copy(update=limits))


class Clock:
    """Unix seconds, as the test sets them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Traffic:
    """Two callers, as two ingresses are, and a worker that only collects."""

    def __init__(self, callers: tuple[Client, Client], worker: Client) -> None:
        self.callers = callers
        self.worker = worker
        self.runs: list[AttemptRun] = []
        self.refusals: list[frames.RequestRefused] = []
        self._inboxes = [caller.new_inbox() for caller in callers]
        self._count = 0

    async def listen(self) -> None:
        await self.worker.subscribe(ATTEMPT_RUN.pattern(), queue=Role.PROVIDER_WORKER.value, cb=self._on_attempt)
        for caller, inbox in zip(self.callers, self._inboxes, strict=True):
            await caller.subscribe(inbox, cb=self._on_frame)
            await caller.flush()
        await self.worker.flush()

    async def send(self, count: int, tenant: str = "acme", limits: Limits | None = None) -> None:
        """Send so many requests, over both callers in turn, and wait for all outcomes."""
        before = len(self.runs) + len(self.refusals)
        for _ in range(count):
            self._count += 1
            index = self._count % 2
            head = ChatRequest(
                request_id=f"req_{self._count}",
                tenant=tenant,
                model="echo",
                stream=False,
                deadline_ms=60_000,
                start_by_unix_ms=FAR_AWAY_UNIX_MS,
                client_token_id=None if limits is None else "tok_1",
                token_limits=limits,
            )
            subject = CHAT_REQUEST.format(tenant=tenant)
            await self.callers[index].publish(subject, head.with_body(b"{}"), reply=self._inboxes[index])
        await eventually("all requests are decided", lambda: len(self.runs) + len(self.refusals) == before + count)

    async def end(self, run: AttemptRun, used_tokens: int) -> None:
        """End an attempt as its worker would."""
        assert run.admission is not None
        for subject, amount in settle(run.admission, run.tenant, used_tokens, 1_800_000_000_000):
            await self.worker.publish(subject, b"", headers={INCREMENT_HEADER: f"{amount:+d}"})
        await self.worker.flush()

    async def _on_attempt(self, message: Msg) -> None:
        self.runs.append(AttemptRun.split(message.data)[0])

    async def _on_frame(self, message: Msg) -> None:
        frame = frames.decode(message.data)
        assert isinstance(frame, frames.RequestRefused)
        self.refusals.append(frame)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def routers(servers: RouterServers, clock: Clock, *tenants: Tenant) -> AsyncIterator[None]:
    """Run two routers with these tenants."""
    await servers.fill(TENANTS_VIEW, {tenant.tenant: tenant for tenant in tenants})
    await servers.fill(PROVIDER_KEYS_VIEW, {})
    await servers.fill(BUDGETS_VIEW, {})
    settings = RouterSettings(
        egress_allow=(IPv4Network("127.0.0.0/8"),),
        nats_url=servers.bus.nats_url,
        nats_nkey_file=servers.bus.seed_file(Role.ROUTER),
        database_url_file=servers.database_url_file,
        drain_seconds=5,
    )
    async with AsyncExitStack() as stack:
        for router in [create_app(settings, clock) for _ in range(2)]:
            life = asyncio.create_task(router.run())
            stack.push_async_callback(asyncio.wait_for, life, TIMEOUT_SECONDS)
            stack.callback(router.app.exit)
            await until_subscribed(router.bus, life)
        yield


@asynccontextmanager
async def two_routers(servers: RouterServers, clock: Clock, *tenants: Tenant) -> AsyncIterator[Traffic]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(routers(servers, clock, *tenants))
        callers = [await stack.enter_async_context(servers.bus.client(Role.INGRESS)) for _ in range(2)]
        worker = await stack.enter_async_context(servers.bus.client(worker_id(1)))
        traffic = Traffic((callers[0], callers[1]), worker)
        await traffic.listen()
        yield traffic


async def test_a_change_of_the_limit_a_token_and_the_end_of_requests_act_on_every_router(
    servers: RouterServers, clock: Clock
) -> None:
    async with two_routers(servers, clock, acme(concurrency=2, tpm=10_000)) as traffic:
        await traffic.send(6)
        assert (len(traffic.runs), len(traffic.refusals)) == (2, 4)
        assert "2 requests at the same time" in traffic.refusals[0].failure.message
        for run in traffic.runs:
            await traffic.end(run, used_tokens=9)
        await traffic.send(2)
        assert len(traffic.runs) == 4, "the places are free again, on both routers"
        clock.now += 2 * EPOCH_MS / 1000
        await traffic.send(2)
        assert len(traffic.runs) == 6, "what a dead worker held is free after two epochs"
        await servers.fill(TENANTS_VIEW, {"acme": acme()})

        async def passes() -> bool:
            before = len(traffic.runs)
            await traffic.send(2)
            return len(traffic.runs) == before + 2

        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await passes():
                pass
        before = len(traffic.runs)
        await traffic.send(10, limits=Limits(rpm=3))
        assert len(traffic.runs) == before + 3
        assert traffic.refusals[-1].failure.message.startswith("the client token's own limit of 3 requests per minute")
        clock.now -= 3600
        await traffic.send(4, limits=Limits(rpm=3))
        assert len(traffic.runs) == before + 3, "a clock that jumps back opens no window again"


async def test_the_counters_in_memory_add_like_the_servers(servers: RouterServers) -> None:
    memory = MemoryCounters()
    async with servers.bus.client(Role.ROUTER) as router:
        subject = LIMIT_COUNTED.format(kind="rpm", tenant="acme", scope="-", window="1")
        for amount in (3, 0, -5, 7):
            reply = await router.request(subject, b"", headers={INCREMENT_HEADER: f"{amount:+d}"}, timeout=5)
            assert int(json.loads(reply.data)["val"]) == await memory.add(subject, amount)
