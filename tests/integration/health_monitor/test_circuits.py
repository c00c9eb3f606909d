"""Health from workers' records to routers' views, over a real bus."""

import asyncio
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, KeyClass, Target
from keyferry.contracts.topology import HEALTH_VIEW, Role
from keyferry.contracts.usage import KeySource
from keyferry.runtime.views import COMPLETE, ViewWriter, snapshot
from tests.integration.health_monitor.processes import (
    OWN,
    TIMEOUT_SECONDS,
    MonitorServers,
    ended,
    failing,
    gone,
    state,
    until_half_open,
)
from tests.support.ledger.attempt_records import batch_message
from tests.support.waiting import eventually, eventually_async

OPEN, COOLING, CLOSED = CircuitState.OPEN, CircuitState.COOLING, CircuitState.CLOSED


async def test_failures_open_a_probe_closes_and_every_change_is_an_event(servers: MonitorServers) -> None:
    async with servers.monitor(), servers.worker() as worker, servers.router() as view:
        await eventually("the view is whole", lambda: view.ready)
        await worker.report(failing(5))
        open_entry = await state(view, OPEN)
        assert open_entry.target == OWN
        assert (open_entry.samples, open_entry.failures) == (5, 5)
        assert "all 5 attempts" in open_entry.reason
        assert open_entry.until is not None
        assert open_entry.until > open_entry.changed_at
        await until_half_open(open_entry)
        await worker.report(failing(1))
        again = await eventually(
            "it opens for longer", lambda: _changed_since(view.get(OWN.key), open_entry.changed_at)
        )
        assert again.state is OPEN
        await until_half_open(again)
        await worker.report([ended()])
        await gone(view)

        async def all_changes() -> bool:
            return [event.state for event in await servers.events()] == [OPEN, OPEN, CLOSED]

        await eventually_async("the stream holds every change", all_changes)


async def test_a_target_that_requests_a_pause_cools_for_that_long(servers: MonitorServers) -> None:
    async with servers.monitor(), servers.worker() as worker, servers.router() as view:
        await worker.report([ended(FailureClass.RATE_LIMIT, retry_after_ms=1500)])
        cooling = await state(view, COOLING)
        assert "asked for a pause of 1.5 s" in cooling.reason
        await gone(view)
        assert cooling.until is not None
        assert datetime.now(UTC) >= cooling.until
        await worker.report([ended(FailureClass.OVERLOADED, retry_after_ms=86_400_000)])
        capped = await state(view, COOLING)
        assert capped.until is not None
        assert capped.until - datetime.now(UTC) <= timedelta(minutes=10)


async def test_failures_of_others_open_nothing(servers: MonitorServers) -> None:
    shared: dict[str, object] = {"provider": "openai", "endpoint": None, "model": "gpt", "key_source": KeySource.BYOK}
    async with servers.monitor() as monitor, servers.worker() as worker, servers.router() as view:
        for failure_class in (FailureClass.AUTH, FailureClass.BAD_REQUEST, FailureClass.CANCELLED, FailureClass.QUOTA):
            await worker.report([ended(failure_class) for _ in range(20)])
        await worker.report([ended(FailureClass.RATE_LIMIT, **(shared | {"retry_after_ms": 60_000}))])
        echo: dict[str, object] = {"provider": "echo", "endpoint": None, "model": "echo", "key_source": KeySource.NONE}
        await worker.report(failing(20, **echo))
        await worker.report(failing(5, endpoint="other"))
        await state(view, OPEN, OWN.model_copy(update={"endpoint": "other"}))
        await eventually_async("everything is recorded", servers.acknowledged)
        assert (monitor.facts()["open"], monitor.facts()["cooling"]) == ("1", "0")
        assert len(view) == 1


async def test_the_same_attempt_in_many_batches_counts_once(servers: MonitorServers) -> None:
    once = ended(FailureClass.SERVER)
    async with servers.monitor(), servers.worker() as worker, servers.operator() as operator:
        for _ in range(10):
            await worker.report([once])
        await eventually_async("everything is recorded", servers.acknowledged)
        health = (await operator.health("acme"))[OWN]
        assert (health.state, health.samples, health.failures) == (CLOSED, 1, 1)


async def test_malformed_records_hold_up_nothing(servers: MonitorServers) -> None:
    async with servers.monitor() as monitor, servers.worker() as worker, servers.router() as view:
        await worker.send(b"no batch at all")
        await worker.send(batch_message([b"{}", b"not json", *(record.encode() for record in failing(5))]))
        impostors = [record.model_copy(update={"worker_id": "provider-worker-2"}) for record in failing(5, model="x")]
        await worker.report(impostors)
        await state(view, OPEN)
        await eventually_async("everything is recorded", servers.acknowledged)
        assert (monitor.facts()["open"], monitor.facts()["targets"]) == ("1", "1")


async def test_a_tenant_sees_its_own_and_shared_targets(servers: MonitorServers) -> None:
    shared: dict[str, object] = {
        "provider": "openai",
        "endpoint": None,
        "model": "gpt",
        "key_source": KeySource.PLATFORM,
    }
    async with servers.monitor(), servers.worker() as worker, servers.operator() as operator:
        await worker.report(
            [*failing(5, tenant="globex"), *(ended(latency_ms=0) for _ in range(3)), ended(tenant="globex", **shared)]
        )
        await eventually_async("everything is recorded", servers.acknowledged)
        other = OWN.model_copy(update={"tenant": "globex"})
        everybodys = Target(provider="openai", model="gpt", key_class=KeyClass.PLATFORM)
        acme, globex = await operator.health("acme"), await operator.health("globex")
        assert acme.keys() == {OWN, everybodys}
        assert globex.keys() == {other, everybodys}
        assert globex[other].state is OPEN
        assert (acme[OWN].state, acme[OWN].samples, acme[OWN].p95_ms) == (CLOSED, 3, 0)


async def test_old_records_open_nothing_after_a_restart(servers: MonitorServers) -> None:
    a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    async with servers.worker() as worker, servers.router() as view:
        await worker.report(failing(20, started_at=a_minute_ago))
        async with servers.monitor(), servers.operator() as operator:
            await eventually_async("everything is recorded", servers.acknowledged)
            health = (await operator.health("acme"))[OWN]
            assert (health.state, health.failures) == (CLOSED, 20)
            await eventually("the view is whole", lambda: view.ready)
            assert len(view) == 0
        assert await servers.events() == []


async def test_a_successor_restores_an_open_circuit_and_closes_it(servers: MonitorServers) -> None:
    async with servers.worker() as worker, servers.router() as view:
        async with servers.monitor():
            await worker.report(failing(5))
            open_entry = await state(view, OPEN)
        assert view.get(OWN.key) == open_entry, "the entry stays when the monitor is gone"
        async with servers.monitor():
            assert view.get(OWN.key) == open_entry
            await until_half_open(open_entry)
            await worker.report([ended()])
            await gone(view)


async def test_a_successor_removes_expired_entries(servers: MonitorServers) -> None:
    async with servers.worker() as worker, servers.router() as view:
        async with servers.monitor():
            await worker.report(failing(5))
            open_entry = await state(view, OPEN)
        await until_half_open(open_entry)
        async with servers.monitor(circuit_expire_after_seconds=0.001):
            await gone(view)


async def test_changes_during_a_bus_outage_are_published_afterwards(servers: MonitorServers) -> None:
    server = servers.installation.server
    async with servers.monitor(), servers.worker() as worker, servers.router() as view:
        await worker.report([ended(FailureClass.OVERLOADED, retry_after_ms=3000)])
        await state(view, COOLING)
        server.stop()
        server.restart()
        await gone(view)
        await worker.report(failing(5))
        await state(view, OPEN)


async def test_an_emptied_bucket_is_completed_again(servers: MonitorServers) -> None:
    async with servers.monitor(), servers.installation.client(Role.HEALTH_MONITOR) as client:
        await ViewWriter(client, HEALTH_VIEW).delete(COMPLETE)

        async def whole() -> bool:
            return COMPLETE in (await snapshot(client, HEALTH_VIEW))[0]

        await eventually_async("the bucket is whole", whole)


async def test_two_processes_agree(servers: MonitorServers) -> None:
    """Each process receives a part; either may close what the other has opened, and it stays closed."""
    async with (
        servers.monitor(circuit_open_seconds=3) as one,
        servers.monitor(circuit_open_seconds=3) as other,
        servers.worker() as worker,
        servers.router() as view,
    ):
        for _ in range(20):
            await worker.report(failing(5))
        open_entry = await state(view, OPEN)
        await eventually("both agree", lambda: one.facts()["open"] == other.facts()["open"] == "1")
        await until_half_open(open_entry)
        for _ in range(6):
            await worker.report([ended(), ended()])
        await gone(view)
        await eventually("both agree", lambda: one.facts()["open"] == other.facts()["open"] == "0")
        await eventually_async("everything is recorded", servers.acknowledged)
        assert view.get(OWN.key) is None
        received = [int(process.facts()["attempts"]) for process in (one, other)]
        assert sum(received) == 100 + 12
    async with asyncio.timeout(TIMEOUT_SECONDS):
        events = await servers.events()
    assert events[-1].state is CLOSED


def _changed_since(health: Health | None, moment: datetime) -> Health | None:
    return health if health is not None and health.changed_at > moment else None
