"""Queries go to a real standby while it is near, to the primary otherwise, and claim no more than they find."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.runtime.database.engine import engine_for
from keyferry.runtime.process.settings import DatabaseSettings
from services.usage_ledger.read_replica import Mark, ReadReplica, ReplicaLag, parse_position
from tests.support.cluster.postgres_pair import PostgresPair, postgres_pair
from tests.support.waiting import eventually_async

DAY = datetime(2026, 12, 1, tzinfo=UTC)


async def on_standby(engine: AsyncEngine) -> bool:
    async with engine.begin() as connection:
        return bool(await connection.scalar(text("SELECT pg_is_in_recovery()")))


async def on_primary(engine: AsyncEngine) -> bool:
    return not await on_standby(engine)


@asynccontextmanager
async def replicated(pair: PostgresPair, directory: Path) -> AsyncIterator[tuple[ReadReplica, AsyncEngine]]:
    file = directory / "url"
    file.write_text(pair.admin_url.reveal())
    settings = DatabaseSettings(nats_url="nats://127.0.0.1:1", database_url_file=file)
    primary, readers = engine_for(settings), engine_for(settings, pool_size=2)
    url = make_url(pair.standby.url(str(primary.url.database)).replace("postgresql://", "postgresql+psycopg://"))
    replica = ReadReplica(url, 4.0, primary, readers)
    replica.start()
    try:
        yield replica, readers
    finally:
        await replica.stop()
        await readers.dispose()
        await primary.dispose()


@pytest.mark.long
async def test_queries_follow_the_distance_between_both_servers(tmp_path: Path) -> None:
    with postgres_pair(tmp_path / "pair") as pair:
        async with replicated(pair, tmp_path) as (replica, readers):
            assert await on_primary(readers)  # nothing is known of the standby yet
            await eventually_async("the standby is used", lambda: on_standby(readers))
            assert replica.notes() == []
            pair.standby.execute("SELECT pg_wal_replay_pause()")
            pair.primary.execute("CREATE TABLE later (x int)")
            await eventually_async("a standby that falls behind is left", lambda: on_primary(readers))
            assert "behind" in replica.notes()[0]
            pair.standby.execute("SELECT pg_wal_replay_resume()")
            await eventually_async("it is used again", lambda: on_standby(readers))
            pair.go_on_alone()
            pair.standby.server.kill()
            await eventually_async("a standby that is gone is left", lambda: answered(readers))
            assert await on_primary(readers)


async def answered(engine: AsyncEngine) -> bool:
    try:
        async with asyncio.timeout(5), engine.begin() as connection:
            return not await connection.scalar(text("SELECT pg_is_in_recovery()"))
    except Exception:  # the query that was on its way to the standby
        return False


def test_lag_is_the_age_of_the_newest_position_that_was_replayed() -> None:
    lag = ReplicaLag(5)
    assert not lag.usable(0)
    assert lag.seconds(0) is None
    for second in range(4):
        lag.add_mark(Mark(second, 100 + second, DAY + timedelta(seconds=second)))
    lag.add_replayed(101, 3.5)
    assert lag.seconds(4) == 3
    assert lag.complete_until(4, DAY + timedelta(days=1)) == DAY + timedelta(seconds=1)
    assert not lag.usable(4)  # from the second time on
    lag.add_replayed(101, 4)
    assert lag.usable(4)
    assert lag.complete_until(4, None) is None
    assert lag.usable(6)
    assert not lag.usable(6.1)
    assert lag.complete_until(6.1, DAY) == DAY
    lag.add_replayed(103, 7)
    lag.add_replayed(103, 7)
    assert lag.usable(7)
    lag.add_replayed(None, 7)
    assert not lag.usable(7)
    assert parse_position("1A/FF") == (0x1A << 32) + 0xFF
