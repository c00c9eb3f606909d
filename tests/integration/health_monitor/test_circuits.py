"""What workers report becomes what routers follow, over a real bus."""

import asyncio
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.topology import HEALTH_VIEW, Role
from keyferry.contracts.usage import KeySource
from keyferry.runtime.views import COMPLETE, ViewWriter, snapshot
from tests.integration.health_monitor.processes import (
    OWN,
    PATIENCE_SECONDS,
    Surroundings,
    ended,
    eventually,
    eventually_asked,
    failing,
    gone,
    state,
    until_rested,
)
from tests.support.ledger.attempt_records import attempt_record, batch_message

OPEN, COOLING, CLOSED = CircuitState.OPEN, CircuitState.COOLING, CircuitState.CLOSED


async def test_failures_open_a_trial_closes_and_every_change_is_an_event(surroundings: Surroundings) -> None:
    async with surroundings.monitor(), surroundings.worker() as worker, surroundings.router() as view:
        await eventually("the view is whole", lambda: view.ready)
        await worker.report([ended(), *failing(5)])
        opened = await state(view, OPEN)
        assert opened.target == OWN
        assert (opened.samples, opened.failures) == (5, 4)
        assert "4 of 5 attempts" in opened.reason
        assert opened.until is not None
        assert opened.until > opened.changed_at
        await until_rested(opened)
        await worker.report(failing(1))
        again = await eventually("it opens for longer", lambda: _changed_since(view.get(OWN.key), opened.changed_at))
        assert again.state is OPEN
        await until_rested(again)
        await worker.report([ended()])
        await gone(view)

        async def told() -> bool:
            return [event.state for event in await surroundings.events()] == [OPEN, OPEN, CLOSED]

        await eventually_asked("the stream holds every change", told)


async def test_a_target_that_asks_for_patience_gets_it_for_so_long(surroundings: Surroundings) -> None:
    async with surroundings.monitor(), surroundings.worker() as worker, surroundings.router() as view:
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


async def test_what_is_not_the_targets_fault_opens_nothing(surroundings: Surroundings) -> None:
    shared: dict[str, object] = {"provider": "openai", "endpoint": None, "model": "gpt", "key_source": KeySource.BYOK}
    async with surroundings.monitor() as monitor, surroundings.worker() as worker, surroundings.router() as view:
        for failure_class in (FailureClass.AUTH, FailureClass.BAD_REQUEST, FailureClass.CANCELLED, FailureClass.QUOTA):
            await worker.report([ended(failure_class) for _ in range(20)])
        await worker.report([ended(FailureClass.RATE_LIMIT, **(shared | {"retry_after_ms": 60_000}))])
        await worker.report([attempt_record(failure=record.failure, outcome=record.outcome) for record in failing(20)])
        await worker.report(failing(5, endpoint="other"))
        await state(view, OPEN, OWN.model_copy(update={"endpoint": "other"}))
        await eventually_asked("everything was heard", surroundings.acknowledged)
        assert (monitor.facts()["open"], monitor.facts()["cooling"]) == ("1", "0")
        assert len(view) == 1


async def test_the_same_attempt_in_many_packs_counts_once(surroundings: Surroundings) -> None:
    once = ended(FailureClass.SERVER)
    async with surroundings.monitor(), surroundings.worker() as worker, surroundings.operator() as operator:
        for _ in range(10):
            await worker.report([once])
        await eventually_asked("everything was heard", surroundings.acknowledged)
        health = (await operator.health("acme"))[OWN]
        assert (health.state, health.samples, health.failures) == (CLOSED, 1, 1)


async def test_what_cannot_be_read_keeps_nothing_back(surroundings: Surroundings) -> None:
    async with surroundings.monitor() as monitor, surroundings.worker() as worker, surroundings.router() as view:
        await worker.send(b"no pack at all")
        await worker.send(batch_message([b"{}", b"not json", *(record.encode() for record in failing(5))]))
        impostors = [record.model_copy(update={"worker_id": "provider-worker-2"}) for record in failing(5, model="x")]
        await worker.report(impostors)
        await state(view, OPEN)
        await eventually_asked("everything was heard", surroundings.acknowledged)
        assert (monitor.facts()["open"], monitor.facts()["targets"]) == ("1", "1")


async def test_a_tenant_hears_of_its_own_and_of_what_all_share(surroundings: Surroundings) -> None:
    shared: dict[str, object] = {
        "provider": "openai",
        "endpoint": None,
        "model": "gpt",
        "key_source": KeySource.PLATFORM,
    }
    async with surroundings.monitor(), surroundings.worker() as worker, surroundings.operator() as operator:
        await worker.report(
            [*failing(5, tenant="globex"), *(ended(latency_ms=0) for _ in range(3)), ended(tenant="globex", **shared)]
        )
        await eventually_asked("everything was heard", surroundings.acknowledged)
        other, everybodys = OWN.model_copy(update={"tenant": "globex"}), Target(provider="openai", model="gpt")
        acme, globex = await operator.health("acme"), await operator.health("globex")
        assert acme.keys() == {OWN, everybodys}
        assert globex.keys() == {other, everybodys}
        assert globex[other].state is OPEN
        assert (acme[OWN].state, acme[OWN].samples, acme[OWN].p95_ms) == (CLOSED, 3, 0)


async def test_old_records_open_nothing_after_a_restart(surroundings: Surroundings) -> None:
    a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    async with surroundings.worker() as worker, surroundings.router() as view:
        await worker.report(failing(20, started_at=a_minute_ago))
        async with surroundings.monitor(), surroundings.operator() as operator:
            await eventually_asked("everything was heard", surroundings.acknowledged)
            health = (await operator.health("acme"))[OWN]
            assert (health.state, health.failures) == (CLOSED, 20)
            await eventually("the view is whole", lambda: view.ready)
            assert len(view) == 0
        assert await surroundings.events() == []


async def test_a_successor_takes_over_what_is_open_and_closes_it(surroundings: Surroundings) -> None:
    async with surroundings.worker() as worker, surroundings.router() as view:
        async with surroundings.monitor():
            await worker.report(failing(5))
            opened = await state(view, OPEN)
        assert view.get(OWN.key) == opened, "what is known stays when the monitor is gone"
        async with surroundings.monitor():
            assert view.get(OWN.key) == opened
            await until_rested(opened)
            await worker.report([ended()])
            await gone(view)


async def test_a_successor_removes_what_is_long_over(surroundings: Surroundings) -> None:
    async with surroundings.worker() as worker, surroundings.router() as view:
        async with surroundings.monitor():
            await worker.report(failing(5))
            opened = await state(view, OPEN)
        await until_rested(opened)
        async with surroundings.monitor(circuit_forgotten_after_seconds=0.001):
            await gone(view)


async def test_changes_made_while_the_bus_is_away_come_when_it_is_back(surroundings: Surroundings) -> None:
    server = surroundings.installation.server
    async with surroundings.monitor(), surroundings.worker() as worker, surroundings.router() as view:
        await worker.report([ended(FailureClass.OVERLOADED, retry_after_ms=3000)])
        await state(view, COOLING)
        server.stop()
        server.restart()
        await gone(view)
        await worker.report(failing(5))
        await state(view, OPEN)


async def test_a_bucket_that_somebody_emptied_is_made_whole_again(surroundings: Surroundings) -> None:
    async with surroundings.monitor(), surroundings.installation.client(Role.HEALTH_MONITOR) as client:
        await ViewWriter(client, HEALTH_VIEW).delete(COMPLETE)

        async def whole() -> bool:
            return COMPLETE in (await snapshot(client, HEALTH_VIEW))[0]

        await eventually_asked("the bucket is whole", whole)


async def test_two_processes_do_not_fight(surroundings: Surroundings) -> None:
    """Each hears a part; either may close what the other has opened, and nothing comes back."""
    async with (
        surroundings.monitor(circuit_open_seconds=3) as one,
        surroundings.monitor(circuit_open_seconds=3) as other,
        surroundings.worker() as worker,
        surroundings.router() as view,
    ):
        for _ in range(20):
            await worker.report(failing(5))
        opened = await state(view, OPEN)
        await eventually("both know", lambda: one.facts()["open"] == other.facts()["open"] == "1")
        await until_rested(opened)
        for _ in range(6):
            await worker.report([ended(), ended()])
        await gone(view)
        await eventually("both know", lambda: one.facts()["open"] == other.facts()["open"] == "0")
        await eventually_asked("everything was heard", surroundings.acknowledged)
        assert view.get(OWN.key) is None
        received = [int(process.facts()["attempts"]) for process in (one, other)]
        assert sum(received) == 100 + 12
    async with asyncio.timeout(PATIENCE_SECONDS):
        events = await surroundings.events()
    assert events[-1].state is CLOSED


def _changed_since(health: Health | None, moment: datetime) -> Health | None:
    return health if health is not None and health.changed_at > moment else None
