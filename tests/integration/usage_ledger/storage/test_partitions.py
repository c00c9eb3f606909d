"""Months are made ahead, detached by retention and dropped if that is wanted, while rows are read and written."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.ledger_management import PARTITION_LIST
from keyferry.contracts.partitions import ListPartitions, PartitionState
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.partitions.months import Month, Retention
from services.usage_ledger.partitions.store import PartitionStore, kept_since
from services.usage_ledger.store import LedgerStore
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record, decision_record

FOR_EVER = Retention(None, None, None)
NOW = datetime.now(UTC)
HEAD = Month.of(NOW).plus(4)
"""The first month without a partition."""


def attempt_at(moment: datetime) -> LedgerRow:
    record = attempt_record(attempt_id=ids.new(ids.ATTEMPT, unix_ms=round(moment.timestamp() * 1000)))
    return LedgerRow(record=record, pricing="unpriced", recorded_at=NOW)


async def rows_by_partition(engine: AsyncEngine) -> dict[str, int]:
    query = "SELECT relname, count(*) FROM usage_ledger.attempts AS a JOIN pg_class ON oid = a.tableoid GROUP BY 1"
    async with engine.connect() as connection:
        return {name: count for name, count in (await connection.execute(text(query))).all()}  # noqa: C416


async def test_rows_from_the_future_move_into_their_month_once_it_is_made(engine: AsyncEngine) -> None:
    store, partitions = LedgerStore(engine), PartitionStore(engine)
    early = attempt_at(HEAD.begins_at + timedelta(hours=1))
    odd = LedgerRow(record=attempt_record(attempt_id="att_1"), pricing="unpriced", recorded_at=NOW)
    assert (await store.record_attempts([early, odd])).new == {early.record.attempt_id, "att_1"}
    assert await rows_by_partition(engine) == {"attempts_other": 2}
    # Two processes at once: one makes each month, and neither fails.
    both = await asyncio.gather(*(partitions.maintain(FOR_EVER, NOW + timedelta(days=40)) for _ in range(2)))
    created = sorted(name for changes in both for name in changes.created)
    assert f"attempts_{HEAD}" in created
    assert len(created) == len(set(created))
    assert await rows_by_partition(engine) == {"attempts_other": 1, f"attempts_{HEAD}": 1}
    assert (await store.record_attempts([early, odd])).new == set()


async def test_old_months_are_detached_and_dropped_as_a_whole(engine: AsyncEngine) -> None:
    store, partitions = LedgerStore(engine), PartitionStore(engine)
    last_month, this_month = Month.of(NOW).plus(-1), Month.of(NOW)
    old, young = attempt_at(last_month.begins_at + timedelta(days=3)), attempt_at(NOW)
    await store.record_attempts([old, young])
    await store.record_decisions([decision_record()], NOW)
    retention = Retention(attempts_days=62, decisions_days=None, detached_days=None)
    due = this_month.begins_at + timedelta(days=62)
    assert (await partitions.maintain(retention, due - timedelta(seconds=1))).detached == []
    changes = await partitions.maintain(retention, due)
    assert (changes.detached, changes.dropped) == ([f"attempts_{last_month}"], [])
    assert await rows_by_partition(engine) == {f"attempts_{this_month}": 1}
    async with engine.connect() as connection:
        assert await kept_since(connection, "attempts") == this_month.begins_at
        assert await kept_since(connection, "decisions") is None
        detached = await connection.scalar(text(f"SELECT count(*) FROM usage_ledger.attempts_{last_month}"))
        assert detached == 1
    (listed,) = [one for one in await partitions.list_partitions(retention) if one.state is PartitionState.DETACHED]
    assert (listed.name, listed.detached_at, listed.leaves_at) == (f"attempts_{last_month}", due, None)
    dropping = Retention(attempts_days=62, decisions_days=None, detached_days=10)
    assert (await partitions.maintain(dropping, due + timedelta(days=10))).dropped == []
    changes = await partitions.maintain(dropping, due + timedelta(days=10, seconds=1))
    assert changes.dropped == [f"attempts_{last_month}"]
    states = {one.name: one.state for one in await partitions.list_partitions(dropping)}
    assert states[f"attempts_{last_month}"] is PartitionState.DROPPED
    assert states["decisions_other"] is PartitionState.ATTACHED


async def test_a_busy_table_keeps_nobody_waiting_for_long(engine: AsyncEngine) -> None:
    """A reader that takes its time: the detachment gives up instead of holding up everybody behind it."""
    partitions = PartitionStore(engine)
    retention = Retention(attempts_days=1, decisions_days=None, detached_days=None)
    async with engine.begin() as reader:
        await reader.execute(text("SELECT count(*) FROM usage_ledger.attempts"))
        with pytest.raises(DatabaseUnavailable):
            await partitions.maintain(retention, NOW + timedelta(days=50))
    assert (await partitions.maintain(retention, NOW + timedelta(days=50))).detached != []


async def test_partitions_are_listed_on_the_bus(servers: LedgerServers) -> None:
    async with servers.in_process(), servers.operator() as operator:
        found = await operator.ask(PARTITION_LIST, ListPartitions(), timeout_seconds=20)
        assert (found.retention_attempts_days, found.retention_decisions_days) == (400, 30)
        names = {one.name: one for one in found.partitions}
        current = names[f"decisions_{Month.of(NOW)}"]
        assert (current.until_moment, current.size_bytes > 0) == (Month.of(NOW).plus(1).begins_at, True)
        assert current.leaves_at == Month.of(NOW).plus(1).begins_at + timedelta(days=30)
        assert (names["attempts_other"].from_moment, names["attempts_other"].leaves_at) == (None, None)
