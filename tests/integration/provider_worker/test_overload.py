"""A real worker on a real bus: a provider that hangs and a tenant that floods take their share, and others go on."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts import frames
from keyferry.contracts.chat import Reroute
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.topology import ATTEMPT_RUN, REQUEST_DECIDED, REQUEST_REROUTE, Role, worker_id
from keyferry.contracts.usage import Outcome
from keyferry.runtime.bus.publishing import split_batch
from services.provider_worker import app
from services.provider_worker.settings import ProviderWorkerSettings
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.raw_http_server import Call, RawHttpServer, hangs, raw_http_server, reply
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus, until_subscribed
from tests.support.waiting import eventually

ANSWER = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
LIMITS = {"max_attempts": 10, "max_waiting_attempts": 8}
PROVIDER_SHARE, TENANT_SHARE = 4, 8
"""Of ten: 40 % and 75 %."""


async def answer_soon(call: Call) -> None:
    await asyncio.sleep(0.02)
    await call.send(reply(ANSWER))


@dataclass
class Caller:
    """Sends attempts as a router does, and receives their frames as an ingress does, by request."""

    router: Client
    inbox: str
    received: dict[str, list[frames.Frame]] = field(default_factory=dict)
    reroutes: list[Reroute] = field(default_factory=list)
    recorded: list[DecisionRecord] = field(default_factory=list)
    """What the worker publishes for the ledger of attempts that it refuses."""

    async def send(self, request_id: str, tenant: str, server: RawHttpServer, **changes: object) -> None:
        start_by = time.time_ns() // 1_000_000 + 60_000
        run = attempt_run(base_url=server.url("/v1")).model_copy(
            update={
                "request_id": request_id,
                "attempt_id": f"att_{request_id}",
                "tenant": tenant,
                "start_by_unix_ms": start_by,
                **changes,
            }
        )
        self.received[request_id] = []
        subject = ATTEMPT_RUN.format(provider=run.provider)
        await self.router.publish(subject, run.with_body(BODY), reply=f"{self.inbox}.{request_id}")

    async def on_frame(self, message: Msg) -> None:
        self.received[message.subject.rsplit(".", 1)[1]].append(frames.decode(message.data))

    async def on_reroute(self, message: Msg) -> None:
        self.reroutes.append(Reroute.split(message.data)[0])

    async def on_recorded(self, message: Msg) -> None:
        self.recorded += (DecisionRecord.decode(line) for line in split_batch(message.data)[1])

    def ended(self, request_id: str) -> bool:
        return any(isinstance(one, frames.End | frames.RequestRefused) for one in self.received[request_id])

    async def until_ended(self, request_id: str) -> None:
        await eventually(f"{request_id} ends", lambda: self.ended(request_id))

    def completed(self, prefix: str) -> int:
        ends = [one for one in self._all(prefix) if isinstance(one, frames.End)]
        assert all(one.outcome is Outcome.COMPLETED for one in ends)
        return len(ends)

    def refused(self, prefix: str) -> list[frames.RequestRefused]:
        return [one for one in self._all(prefix) if isinstance(one, frames.RequestRefused)]

    def accepted(self, prefix: str) -> int:
        return sum(isinstance(one, frames.Accepted) for one in self._all(prefix))

    def _all(self, prefix: str) -> list[frames.Frame]:
        return [one for name, found in self.received.items() if name.startswith(prefix) for one in found]


@pytest.fixture
async def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProvisionedBus]:
    """Provide a provisioned bus without a ledger, whose confirmations a worker that stops would wait for."""
    monkeypatch.setattr(app, "_CONFIRM_SECONDS", 0.01)
    async with provisioned_bus(tmp_path) as bus:
        yield bus


@asynccontextmanager
async def running_worker(bus: ProvisionedBus, directory: Path) -> AsyncIterator[Caller]:
    """Run a worker with ten places, and connect what asks it."""
    (directory / "spool").mkdir()
    service = app.create_app(
        ProviderWorkerSettings(
            nats_url=bus.nats_url,
            nats_nkey_file=bus.seed_file(worker_id(1)),
            spool_dir=directory / "spool",
            egress_allow=(IPv4Network("127.0.0.0/8"),),
            drain_seconds=0.1,
            **LIMITS,  # type: ignore[arg-type]
        )
    )
    life = asyncio.create_task(service.run())
    try:
        async with (
            bus.client(Role.ROUTER) as router,
            bus.client(Role.INGRESS) as ingress,
            bus.client(Role.PROVISIONER) as observer,
        ):
            caller = Caller(router, ingress.new_inbox())
            await ingress.subscribe(f"{caller.inbox}.*", cb=caller.on_frame)
            await router.subscribe(REQUEST_REROUTE.pattern(), queue=Role.ROUTER.value, cb=caller.on_reroute)
            await observer.subscribe(REQUEST_DECIDED.format(service=worker_id(1)), cb=caller.on_recorded)
            await asyncio.gather(ingress.flush(), router.flush(), observer.flush())
            await eventually("the worker is connected", lambda: service.bus.connected)
            await until_subscribed(service.bus, life)
            yield caller
    finally:
        service.app.exit()
        await asyncio.wait_for(life, 60)


async def test_a_provider_that_hangs_takes_its_share_and_no_more(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with (
        running_worker(bus, tmp_path) as caller,
        raw_http_server(answer_soon) as good,
        raw_http_server(hangs) as bad,
    ):
        await caller.send("first", "acme", good)
        await eventually("the good server answers", lambda: caller.completed("first"))
        for number in range(20):
            await caller.send(f"bad{number}", "acme", bad)
        for number in range(30):
            await caller.send(f"good{number}", "acme", good)
            await caller.until_ended(f"good{number}")
        refused = 20 - PROVIDER_SHARE
        await eventually("the rest is refused", lambda: len(caller.refused("bad")) == refused)
        assert (caller.completed("good"), caller.accepted("bad"), len(bad.requests)) == (
            30,
            PROVIDER_SHARE,
            PROVIDER_SHARE,
        )
        failures = [one.failure for one in caller.refused("bad")]
        assert {one.failure_class for one in failures} == {FailureClass.OVERLOADED}
        assert all(one.retry_after_ms for one in failures)
        await eventually("each refusal is recorded", lambda: len(caller.recorded) == refused)
        assert {one.request_id for one in caller.recorded} == {f"bad{number}" for number in range(PROVIDER_SHARE, 20)}

        await caller.send("elsewhere", "acme", bad, remaining_candidates=1)
        await eventually("a router may plan again", lambda: caller.reroutes)
        assert [one.request_id for one in caller.reroutes] == ["elsewhere"]
        assert caller.received["elsewhere"] == []


async def test_a_tenant_that_floods_delays_only_itself(bus: ProvisionedBus, tmp_path: Path) -> None:
    running: set[int] = set()
    most = 0

    async def count(call: Call) -> None:
        nonlocal most
        running.add(call.number)
        most = max(most, len(running))
        await answer_soon(call)
        running.discard(call.number)

    async with (
        running_worker(bus, tmp_path) as caller,
        raw_http_server(count) as shared,
        raw_http_server(answer_soon) as own,
    ):
        await caller.send("first", "calm", own)
        await eventually("the calm tenant is known", lambda: caller.completed("first"))
        for round_number in range(10):
            for number in range(20):
                await caller.send(f"flood{round_number}-{number}", "flood", shared)
            await caller.send(f"calm{round_number}", "calm", own)
            await caller.until_ended(f"calm{round_number}")
        await eventually("all ends", lambda: all(caller.ended(name) for name in caller.received))
        assert caller.completed("calm") == 10
        assert caller.completed("flood") + len(caller.refused("flood")) == 200
        assert len(shared.requests) == caller.completed("flood"), "nothing is lost or made twice"
        assert caller.refused("flood")
        assert most <= PROVIDER_SHARE
