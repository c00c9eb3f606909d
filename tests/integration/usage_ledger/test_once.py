"""Every attempt is in the table exactly once, whatever fails."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from deploy.nats.provision import consumer_config
from deploy.postgres.migrate import migrate
from keyferry.contracts.topology import CONSUMERS, Role
from keyferry.contracts.usage import AttemptRecord, AttemptsConfirmed, KeySource
from keyferry.runtime.bus.connection import Bus
from services.usage_ledger import app
from tests.integration.usage_ledger.processes import LedgerServers, Worker, reports, shuffle_into_batches
from tests.support.ledger.attempt_records import attempt_record
from tests.support.servers.postgres import PostgresServer, postgres_server
from tests.support.servers.provisioned_bus import provisioned_bus
from tests.support.waiting import eventually

SECOND_NS = 1_000_000_000
LONG_EVENTS = 1_000_000
_PART = 10_000


def ids_of(records: list[AttemptRecord]) -> list[str]:
    return sorted(record.attempt_id for record in records)


async def publish_all(worker: Worker, records: list[AttemptRecord], seed: int) -> int:
    """Publish every record one to five times; return the number of lines."""
    batches = shuffle_into_batches(records, seed)
    for lines in batches:
        await worker.publish(lines)
    return sum(map(len, batches))


async def test_repeated_and_shuffled_records(servers: LedgerServers) -> None:
    records = [attempt_record() for _ in range(500)]
    async with servers.in_process() as service, servers.worker() as worker:
        lines = await publish_all(worker, records, seed=1)
        await eventually("every line is confirmed", lambda: len(worker.confirmed.get("spl_1", ())) == lines)
        await worker.until_confirmed(records)
        assert servers.recorded() == ids_of(records)
        facts = service.facts()
        assert (facts["recorded"], facts["repeated"]) == ("500", str(lines - 500))


async def test_a_repetition_is_confirmed_and_changes_nothing(servers: LedgerServers) -> None:
    record = attempt_record()
    later = record.model_copy(update={"latency_ms": record.latency_ms + 1})
    async with servers.in_process(), servers.worker() as worker:
        await worker.publish([record.encode()])
        await worker.until_confirmed([record])
        await worker.publish([later.encode()], spool_id="spl_2")
        await worker.until_confirmed([later], spool_id="spl_2")
        assert servers.query("SELECT attempt_id, latency_ms FROM usage_ledger.attempts") == [
            (record.attempt_id, record.latency_ms)
        ]


async def test_a_failure_between_commit_and_acknowledgement(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [attempt_record() for _ in range(100)]
    confirm = app._confirm
    committed: list[int] = []

    async def fails_once(bus: Bus, confirmation: AttemptsConfirmed) -> None:
        if not committed:
            committed.append(len(servers.recorded()))
            raise ConnectionError("gone after the commit")
        await confirm(bus, confirmation)

    monkeypatch.setattr(app, "_confirm", fails_once)
    async with servers.in_process(), servers.worker() as worker:
        await worker.publish([record.encode() for record in records])
        await worker.until_confirmed(records)
        assert committed == [100]
        assert servers.recorded() == ids_of(records)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(LONG_EVENTS // _PART))
async def test_a_million_events_are_recorded_once_each(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Each comes one to five times, in any order, and one batch in three fails between its commit and its acknowledgement."""
    records = [attempt_record(charged_level="eco", key_source=KeySource.PLATFORM) for _ in range(_PART)]
    chance = random.Random(part)
    confirm = app._confirm
    failed = 0

    async def fails_often(bus: Bus, confirmation: AttemptsConfirmed) -> None:
        nonlocal failed
        if not failed or chance.random() < 1 / 3:
            failed += 1
            raise ConnectionError("gone after the commit")
        await confirm(bus, confirmation)

    monkeypatch.setattr(app, "_confirm", fails_often)
    async with servers.in_process(), servers.worker() as worker:
        await publish_all(worker, records, seed=part)
        await worker.until_confirmed(records, timeout_seconds=1800)
        assert servers.recorded() == ids_of(records)
        rollups = (
            "SELECT sum(attempts), sum(requests), sum(input_tokens) FROM usage_ledger.usage_rollups WHERE grain = 1"
        )
        assert servers.query(rollups) == [(_PART, _PART, sum(record.token_usage.input for record in records))]
        assert await servers.dead_letters() == []


async def test_a_killed_process_loses_nothing(servers: LedgerServers) -> None:
    await redeliver_soon(servers)
    records = [attempt_record() for _ in range(1200)]
    async with servers.worker() as worker, servers.operator() as operator:
        async with servers.process() as first:
            await reports(operator, 1)
            publishing = asyncio.create_task(publish_all(worker, records, seed=2))
            await eventually("something is recorded", servers.recorded)
            first.kill()
            await first.exited()
        confirmed = set(worker.confirmed.get("spl_1", ()))
        held = set(servers.recorded())
        assert {record.attempt_id for record in records if record.spool_seq in confirmed} <= held
        async with servers.process():
            await publishing
            await worker.until_confirmed(records)
        assert servers.recorded() == ids_of(records)


async def test_two_processes_do_not_double(servers: LedgerServers) -> None:
    records = [attempt_record() for _ in range(1000)]
    async with (
        servers.worker() as worker,
        servers.operator() as operator,
        servers.process() as one,
        servers.process() as two,
    ):
        await reports(operator, 2)
        await publish_all(worker, records, seed=3)
        await publish_all(worker, records, seed=4)
        await worker.until_confirmed(records)
        assert servers.recorded() == ids_of(records)
        found = await reports(operator, 2)
        assert sum(int(report.facts["recorded"]) for report in found) == len(records)
        assert all(int(report.facts["recorded"]) + int(report.facts["repeated"]) > 0 for report in found)
        for process in (one, two):
            process.terminate()
            assert await process.exited() == 0
            assert "a batch failed" not in process.log()


async def test_a_drain_loses_nothing(servers: LedgerServers) -> None:
    await redeliver_soon(servers)
    records = [attempt_record() for _ in range(2000)]
    async with servers.worker() as worker, servers.operator() as operator:
        async with servers.process() as first:
            await reports(operator, 1)
            publishing = asyncio.create_task(publish_all(worker, records, seed=5))
            await eventually("something is recorded", servers.recorded)
            first.terminate()
            assert await first.exited() == 0
        await worker.client.flush()
        confirmed = set(worker.confirmed.get("spl_1", ()))
        held = set(servers.recorded())
        assert {record.spool_seq for record in records if record.attempt_id in held} == confirmed
        async with servers.process():
            await publishing
            await worker.until_confirmed(records)
        assert servers.recorded() == ids_of(records)


@pytest.fixture(scope="module")
def mortal_postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_postgresql_goes_away_in_the_middle(mortal_postgres: PostgresServer, tmp_path: Path, how: str) -> None:
    admin_url = mortal_postgres.new_database()
    url_file = migrate(admin_url, tmp_path / "database", services=["usage_ledger"])["usage_ledger"]
    records = [attempt_record() for _ in range(1000)]
    early, late = records[:500], records[500:]
    async with provisioned_bus(tmp_path) as bus:
        servers = LedgerServers(bus, admin_url, url_file, tmp_path)
        await servers.publish_prices({})
        async with servers.worker() as worker, servers.in_process() as service:
            publishing = asyncio.create_task(publish_all(worker, early, seed=6))
            await eventually("something is recorded", servers.recorded)
            getattr(mortal_postgres, how)()
            confirmed = set(worker.confirmed.get("spl_1", ()))
            await publishing
            await publish_all(worker, late, seed=7)
            await eventually("it reports that it is not ready", lambda: service.waiting_for() == ["PostgreSQL"])
            mortal_postgres.restart()  # from this thread: the server ends with the thread that started it
            held = set(servers.recorded())
            assert {record.attempt_id for record in records if record.spool_seq in confirmed} <= held
            await eventually("it is ready again", lambda: service.ready)
            await worker.until_confirmed(records)
            assert servers.recorded() == ids_of(records)
            assert await servers.dead_letters() == []


async def test_a_record_whose_insert_postgresql_ended_is_recorded_later(servers: LedgerServers) -> None:
    """A shutdown ends statements like this; a record alone in its batch must not be taken for the cause."""
    record = attempt_record()
    url = servers.admin_url.reveal().replace("postgresql+psycopg://", "postgresql://")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with servers.in_process(), servers.worker() as worker:
        with psycopg.connect(url) as holder:
            holder.execute("LOCK TABLE usage_ledger.attempts IN EXCLUSIVE MODE")
            await worker.publish([record.encode()])
            await eventually("the insert waits for the lock", lambda: servers.query(waiting))
            for (pid,) in servers.query(waiting):
                assert servers.query(f"SELECT pg_terminate_backend({pid})") == [(True,)]
        await worker.until_confirmed([record])
        assert servers.recorded() == [record.attempt_id]
        assert await servers.dead_letters() == []


async def redeliver_soon(servers: LedgerServers) -> None:
    """Make the server redeliver a dead process's messages after a second instead of a minute."""
    expected = ("ATTEMPTS", Role.USAGE_LEDGER)
    (consumer,) = (item for item in CONSUMERS if (item.stream, item.subscriber) == expected)
    config = consumer_config(consumer) | {"ack_wait": SECOND_NS}
    async with servers.installation.client(Role.PROVISIONER) as client:
        reply = await client.request(
            f"$JS.API.CONSUMER.DURABLE.CREATE.ATTEMPTS.{consumer.durable}",
            orjson.dumps({"stream_name": "ATTEMPTS", "config": config}),
            timeout=10,
        )
    assert b'"error"' not in reply.data, reply.data
