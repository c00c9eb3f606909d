"""A health monitor on a real bus, with a worker, a router that follows the view, and an operator."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import CircuitState, Health, ListHealth, Target
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.topology import ATTEMPT_FINISHED, HEALTH_LIST, HEALTH_VIEW, SERVICE_PING, Role
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import KvView
from services.health_monitor.app import create_app
from services.health_monitor.settings import HealthSettings
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message
from tests.support.servers.provisioned_bus import ProvisionedBus, until_subscribed
from tests.support.waiting import eventually, eventually_async

T = TypeVar("T")
TIMEOUT_SECONDS = 60.0
ASK_SECONDS = 10.0
SHORT_REST_SECONDS = 0.5
OWN = Target(provider="custom", model="llama:8b", tenant="acme", endpoint="ollama")


@dataclass(frozen=True)
class MonitorServers:
    """The bus of one test."""

    installation: ProvisionedBus

    @asynccontextmanager
    async def monitor(self, **settings: float) -> AsyncIterator[Service]:
        """Run a monitor in this process until it is drained. By default its circuits stay open for a short time."""
        values: dict[str, object] = {
            "nats_url": self.installation.nats_url,
            "nats_nkey_file": self.installation.seed_file(Role.HEALTH_MONITOR),
            "drain_seconds": 5,
            "circuit_open_seconds": SHORT_REST_SECONDS,
            **settings,
        }
        service = create_app(HealthSettings.model_validate(values))
        life = asyncio.create_task(service.run())
        try:
            async with self.operator() as operator:
                await operator.report_of(service.bus.instance_id)
            await until_subscribed(service.bus, life)
            yield service
        finally:
            service.app.exit()
            await asyncio.wait_for(life, TIMEOUT_SECONDS)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator["Worker"]:
        """Connect a worker that reports attempts."""
        async with self.installation.client(WORKER) as client:
            yield Worker(client)

    @asynccontextmanager
    async def router(self) -> AsyncIterator[KvView[Health]]:
        """Follow the view as a router does."""
        async with self.installation.connected(Role.ROUTER) as bus:
            view = KvView(bus, HEALTH_VIEW)
            await view.start()
            try:
                yield view
            finally:
                await view.stop()

    @asynccontextmanager
    async def operator(self) -> AsyncIterator["Operator"]:
        """Connect an operator."""
        async with self.installation.connected(Role.OPERATOR) as bus:
            yield Operator(bus)

    async def events(self) -> list[Health]:
        """Return every `health.changed` in the stream."""
        found = []
        async with self.installation.client(Role.PROVISIONER) as client:
            jetstream = client.jetstream()
            state = (await jetstream.stream_info("CHANGES")).state
            for seq in range(state.first_seq or 1, state.last_seq + 1):
                try:
                    message = await jetstream.get_msg("CHANGES", seq)
                except NotFoundError:
                    continue
                assert (message.subject or "").startswith("kf.v1.health.changed.")
                found.append(Health.decode(message.data or b""))
        return found

    async def acknowledged(self) -> bool:
        """Return whether the monitor has acknowledged every batch of the stream."""
        async with self.installation.client(Role.PROVISIONER) as client:
            consumer = await client.jetstream().consumer_info("ATTEMPTS", Role.HEALTH_MONITOR)
        return not consumer.num_pending and not consumer.num_ack_pending


@dataclass
class Worker:
    """A worker that publishes batches."""

    client: Client

    async def report(self, records: Iterable[AttemptRecord]) -> None:
        await self.send(batch_message([record.encode() for record in records]))

    async def send(self, data: bytes) -> None:
        await self.client.jetstream().publish(ATTEMPT_FINISHED.format(worker=WORKER), data, timeout=20)


@dataclass
class Operator:
    """An operator's requests."""

    bus: Bus

    async def health(self, tenant: str) -> dict[Target, Health]:
        question = ListHealth(tenant=tenant)
        answer = await self.bus.ask(HEALTH_LIST, question, timeout_seconds=ASK_SECONDS)
        return {health.target: health for health in answer.targets}

    async def report_of(self, instance_id: str) -> ServiceReport:
        """Return the report of one process, once it is ready."""
        found: dict[str, ServiceReport] = {}

        async def note(message: Msg) -> None:
            if message.data:
                report = ServiceReport.decode(message.data)
                found[report.instance_id] = report

        inbox = self.bus.client.new_inbox()
        subscription = await self.bus.client.subscribe(inbox, cb=note)

        async def requested() -> ServiceReport | None:
            await self.bus.client.publish(SERVICE_PING.format(), Ping().encode(), reply=inbox)
            report = found.get(instance_id)
            return report if report is not None and report.ready else None

        try:
            return await eventually_async("it reports that it is ready", requested)
        finally:
            await subscription.unsubscribe()


def ended(failure_class: FailureClass | None = None, /, **changes: object) -> AttemptRecord:
    """Return an attempt at the tenant's own endpoint that has just ended, successful or with a failure of this class."""
    failure = None
    if failure_class is not None:
        retry_after_ms = changes.pop("retry_after_ms", None)
        failure = Failure.model_validate(
            {
                "failure_class": failure_class,
                "message": "no",
                "where": Where.HTTP_STATUS,
                "retry_after_ms": retry_after_ms,
            }
        )
    values: dict[str, object] = {
        "provider": OWN.provider,
        "tenant": OWN.tenant,
        "endpoint": OWN.endpoint,
        "model": OWN.model,
        "key_source": KeySource.CUSTOM,
        "outcome": Outcome.COMPLETED if failure is None else Outcome.FAILED,
        "failure": failure,
        "started_at": datetime.now(UTC) - timedelta(milliseconds=20),
        "latency_ms": 20,
        "first_token_ms": None,
    }
    return attempt_record(**(values | changes))


def failing(count: int, **changes: object) -> list[AttemptRecord]:
    """Return so many attempts that failed at the server."""
    return [ended(FailureClass.SERVER, **changes) for _ in range(count)]


async def state(view: KvView[Health], expected: CircuitState, target: Target = OWN) -> Health:
    """Return the entry of `target` once it is in this state."""

    def entry() -> Health | None:
        found = view.get(target.key)
        return found if found is not None and found.state is expected else None

    return await eventually(f"{target.key} is {expected}", entry)


async def gone(view: KvView[Health], target: Target = OWN) -> None:
    """Return once the view has no entry of `target`."""
    await eventually(f"{target.key} is closed", lambda: view.get(target.key) is None)


async def until_half_open(health: Health) -> None:
    """Return once the target's circuit is half-open."""
    assert health.until is not None
    until = health.until
    await eventually("its rest is over", lambda: datetime.now(UTC) > until)
