"""Operators force circuits: audited first, obeyed by routers, kept over a restart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.audit import AuditEvent
from keyferry.contracts.health import CircuitState, ForceHealth, LatencySummary, Override, ReleaseHealth, Selector
from keyferry.contracts.topology import HEALTH_FORCE, HEALTH_RELEASE, LATENCY_VIEW, OVERRIDES_VIEW, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import COMPLETE, KvView, ViewWriter, snapshot
from tests.integration.health_monitor.processes import ASK_SECONDS, OWN, MonitorServers, Operator, ended, failing
from tests.support.waiting import eventually, eventually_async

OPEN, CLOSED = CircuitState.OPEN, CircuitState.CLOSED


async def force(operator: Operator, state: CircuitState, **selector: object) -> Override:
    values = {"state": state, "for_seconds": 600, "reason": "maintenance", "actor": "operator"} | selector
    return await operator.bus.ask(HEALTH_FORCE, ForceHealth.model_validate(values), timeout_seconds=ASK_SECONDS)


@asynccontextmanager
async def overrides_view(servers: MonitorServers) -> AsyncIterator[KvView[Override]]:
    """Follow the overrides as a router does."""
    async with servers.installation.connected(Role.ROUTER) as bus:
        view = KvView(bus, OVERRIDES_VIEW)
        await view.start()
        try:
            yield view
        finally:
            await view.stop()


async def audited(servers: MonitorServers) -> list[AuditEvent]:
    """Return the events of the stream AUDIT."""
    async with servers.installation.client(Role.PROVISIONER) as client:
        jetstream = client.jetstream()
        last = (await jetstream.stream_info("AUDIT")).state.last_seq
        messages = [await jetstream.get_msg("AUDIT", seq) for seq in range(1, last + 1)]
    return [AuditEvent.decode(message.data or b"") for message in messages]


async def test_an_override_is_audited_reaches_routers_and_outlives_the_monitor(servers: MonitorServers) -> None:
    selector = Selector(provider="openai")
    async with overrides_view(servers) as view, servers.operator() as operator:
        async with servers.monitor():
            made = await force(operator, OPEN, provider="openai")
            assert await eventually("routers obey", lambda: view.get(selector.key)) == made
            [event] = await audited(servers)
            assert (event.action, event.target, event.sequence) == ("health.force_open", "openai", 1)
            assert event.details["reason"] == "maintenance"
        async with servers.monitor() as monitor:
            await eventually("it is restored", lambda: monitor.facts()["forced"] == "1")
            command = ReleaseHealth(provider="openai")
            await operator.bus.ask(HEALTH_RELEASE, command, timeout_seconds=ASK_SECONDS)
            await eventually("routers are free again", lambda: view.get(selector.key) is None)
            with pytest.raises(Refused, match="nothing forces openai; forced now: none"):
                await operator.bus.ask(HEALTH_RELEASE, command, timeout_seconds=ASK_SECONDS)
        assert [event.sequence for event in await audited(servers)] == [1, 2]


async def test_a_forced_endpoint_ignores_failures_and_changes_are_events(servers: MonitorServers) -> None:
    async with servers.monitor(), servers.worker() as worker, servers.operator() as operator:
        await worker.report(failing(1))
        await eventually_async("everything is recorded", servers.acknowledged)
        await force(operator, CLOSED, provider="custom", tenant="acme", endpoint="ollama")
        await worker.report(failing(20))
        await eventually_async("everything is recorded", servers.acknowledged)
        health = (await operator.health("acme"))[OWN]
        assert (health.state, health.failures, health.forced is not None) == (CLOSED, 21, True)

        async def events() -> bool:
            return [event.state for event in await servers.events()] == [CLOSED]

        await eventually_async("the change is an event", events)


async def test_what_is_unknown_is_refused_with_what_is_known(servers: MonitorServers) -> None:
    async with servers.monitor(), servers.worker() as worker, servers.operator() as operator:
        await worker.report([ended()])
        await eventually_async("everything is recorded", servers.acknowledged)
        for selector, message in (
            ({"provider": "opanai"}, "did you mean openai"),
            ({"provider": "openai", "model": "gpt-99"}, "no attempt has called gpt-99 at openai"),
            ({"provider": "custom", "tenant": "acme", "endpoint": "olama"}, "did you mean ollama"),
            ({"provider": "custom", "tenant": "globex", "endpoint": "ollama"}, "globex has no endpoint ollama"),
            ({"provider": "custom", "endpoint": "ollama"}, "together with the tenant"),
        ):
            with pytest.raises(Refused, match=message):
                await force(operator, OPEN, **selector)
        assert await audited(servers) == []
        await force(operator, OPEN, provider="openai", model="gpt-99", unseen=True)


async def test_an_entry_of_another_process_stays_and_an_outdated_one_goes(servers: MonitorServers) -> None:
    async with servers.installation.client(Role.HEALTH_MONITOR) as client:
        writer = ViewWriter(client, LATENCY_VIEW)
        now = datetime.now(UTC)
        theirs = LatencySummary(target=OWN, samples=3, p50_ms=20, p95_ms=30, measured_at=now)
        other = OWN.model_copy(update={"model": "other"})
        old = theirs.model_copy(update={"target": other, "measured_at": now - timedelta(days=2)})
        await writer.put(OWN.key, theirs.encode())
        await writer.put(other.key, old.encode())
        async with servers.monitor():

            async def cleaned() -> bool:
                entries = (await snapshot(client, LATENCY_VIEW))[0]
                return COMPLETE in entries and other.key not in entries and entries.get(OWN.key) == theirs.encode()

            await eventually_async("only what is outdated is gone", cleaned)


async def test_latency_reaches_routers(servers: MonitorServers) -> None:
    async with (
        servers.monitor(),
        servers.worker() as worker,
        servers.installation.connected(Role.ROUTER) as bus,
    ):
        view = KvView(bus, LATENCY_VIEW)
        await view.start()
        await worker.report([ended(latency_ms=200, first_token_ms=20, stream=True) for _ in range(4)])
        found: LatencySummary = await eventually("it is published", lambda: view.get(OWN.key))
        assert (found.target, found.samples) == (OWN, 4)
        assert abs(found.p50_ms - 200) <= 2
        assert abs((found.first_token_p50_ms or 0) - 20) <= 1
        await view.stop()
