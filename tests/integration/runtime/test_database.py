"""Connections that the server closes while nobody uses them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyferry.runtime.database import engine as database
from keyferry.runtime.process.settings import DatabaseSettings
from tests.support.servers.postgres import PostgresServer, postgres_server


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def settings(server: PostgresServer, tmp_path: Path) -> DatabaseSettings:
    url_file = tmp_path / "url"
    url_file.write_text(server.new_database().reveal().replace("postgresql://", "postgresql+psycopg://"))
    return DatabaseSettings(nats_url="nats://127.0.0.1:1", nats_nkey_file=url_file, database_url_file=url_file)


async def hung_up_on(engine: AsyncEngine, settings: DatabaseSettings) -> int:
    """Have the engine keep two connections, and the server close both; the process id of one."""
    async with engine.connect() as first, engine.connect() as second:
        pid: int | None = await first.scalar(text("SELECT pg_backend_pid()"))
        await second.scalar(text("SELECT 1"))
    other = create_async_engine(settings.database_url().reveal())
    async with other.connect() as connection:
        ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        assert len((await connection.execute(text(f"{ended} AND pid <> pg_backend_pid()"))).all()) == 2
    await other.dispose()
    assert pid is not None
    return pid


async def test_a_connection_that_the_server_closed_meanwhile_costs_nobody_an_error(settings: DatabaseSettings) -> None:
    engine = database.engine_for(settings, pool_size=2)
    try:
        former = await hung_up_on(engine, settings)
        async with engine.connect() as first, engine.connect() as second:
            assert await first.scalar(text("SELECT pg_backend_pid()")) != former
            assert await second.scalar(text("SELECT 1")) == 1
    finally:
        await engine.dispose()


async def test_without_the_look_at_the_socket_it_does(settings: DatabaseSettings) -> None:
    engine = database.engine_for(settings, pool_size=2)
    event.remove(engine.sync_engine, "checkout", database._check_liveness)
    try:
        await hung_up_on(engine, settings)
        with pytest.raises(OperationalError):
            async with engine.connect() as connection:
                await connection.scalar(text("SELECT 1"))
    finally:
        await engine.dispose()


async def test_a_living_connection_is_kept_and_not_asked_anything(settings: DatabaseSettings) -> None:
    engine = database.engine_for(settings, pool_size=1)
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    try:
        pids = set()
        for _ in range(3):
            async with engine.connect() as connection:
                pids.add(await connection.scalar(text("SELECT pg_backend_pid()")))
        assert len(pids) == 1
        assert statements == ["SELECT pg_backend_pid()"] * 3
    finally:
        await engine.dispose()
