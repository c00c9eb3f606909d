"""Several servers of PostgreSQL, of which one takes changes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.embedded import postgres
from keyferry.runtime.database.connecting import connection_url, describe_servers
from keyferry.runtime.database.engine import engine_for
from keyferry.runtime.database.errors import DatabaseUnavailable, translate_database_errors
from keyferry.runtime.process.settings import DatabaseSettings, SettingsError
from tests.support.servers.postgres import PostgresServer, postgres_server
from tests.support.waiting import eventually_async

ROLE, PASSWORD = "keeper", "of-the-test"


class Pair:
    """Two servers that are no copies of each other: what matters is which of them takes changes."""

    def __init__(self, first: PostgresServer, second: PostgresServer) -> None:
        self.first, self.second = first, second
        for name, server in (("first", first), ("second", second)):
            run(server, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'", "CREATE TABLE notes (note text)")
            run(server, f"GRANT ALL ON notes TO {ROLE}", f"INSERT INTO notes VALUES ('{name}')")

    def settings(self, directory: Path, options: str = "") -> DatabaseSettings:
        """Return the settings of a service that has both."""
        hosts = "&".join(f"host=127.0.0.1:{port_of(server)}" for server in (self.first, self.second))
        return settings_of(directory, f"postgresql+psycopg://{ROLE}:{PASSWORD}@/postgres?{hosts}{options}")


def settings_of(directory: Path, url: str) -> DatabaseSettings:
    file = directory / "url"
    file.write_text(url)
    return DatabaseSettings(nats_url="nats://127.0.0.1:1", database_url_file=file)


def port_of(server: PostgresServer) -> int:
    port = make_url(server.url().reveal()).port
    assert port is not None
    return port


def run(server: PostgresServer, *statements: str) -> None:
    with psycopg.connect(postgres.driver_url(server.url()), autocommit=True) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement))


def take_changes(server: PostgresServer, *, yes: bool) -> None:
    """Make a server one that takes changes, or none, as libpq sees it; connections that are open stay."""
    run(server, f"ALTER SYSTEM SET default_transaction_read_only = {'off' if yes else 'on'}", "SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with postgres_server(synced=False) as first, postgres_server(synced=False) as second:
        yield Pair(first, second)


@asynccontextmanager
async def engine_of(settings: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(settings, pool_size=2)
    try:
        yield engine
    finally:
        await engine.dispose()


async def note(engine: AsyncEngine) -> str:
    """Change something; return which server did it. Raises DatabaseUnavailable."""
    with translate_database_errors():
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO notes VALUES ('changed')"))
            return str(await connection.scalar(text("SELECT note FROM notes WHERE note <> 'changed'")))


async def test_changes_go_to_the_server_that_takes_them_after_each_failover(pair: Pair, tmp_path: Path) -> None:
    async def noted() -> str | None:
        try:
            return await note(engine)
        except DatabaseUnavailable:
            return None

    take_changes(pair.second, yes=False)
    async with engine_of(pair.settings(tmp_path)) as engine:
        assert await note(engine) == "first"
        take_changes(pair.first, yes=False)
        take_changes(pair.second, yes=True)

        async def refused() -> bool:
            try:
                return await note(engine) == "second"
            except DatabaseUnavailable:
                return True

        # The open connection is to a server that takes no changes any more: one transaction fails, the next does not.
        await eventually_async("the former server is left", refused)
        assert await note(engine) == "second"
        pair.second.kill()
        take_changes(pair.first, yes=True)
        assert await eventually_async("the other one is used", noted) == "first"
        pair.second.restart()


async def test_a_connection_is_waited_for_while_no_server_takes_changes(pair: Pair, tmp_path: Path) -> None:
    for server in (pair.first, pair.second):
        take_changes(server, yes=False)
    async with engine_of(pair.settings(tmp_path)) as engine:
        with pytest.raises(DatabaseUnavailable) as refused:
            await note(engine)
        assert "standby" not in str(refused.value)
        waiting = asyncio.create_task(note(engine))
        await asyncio.sleep(0)
        take_changes(pair.first, yes=True)
        assert await waiting == "first"


def test_defaults_of_several_servers_give_way_to_the_url(tmp_path: Path) -> None:
    several = settings_of(tmp_path, "postgresql+psycopg://r:p@/d?host=a:1&host=b:2&connect_timeout=9").database_url()
    url = connection_url(several)
    assert url.query["target_session_attrs"] == "read-write"
    assert url.query["connect_timeout"] == "9"
    assert describe_servers(url) == "a:1,b:2/d"
    listed = make_url("postgresql+psycopg://r:p@/d?host=a,b&port=1,2")
    assert describe_servers(listed) == "a:1,b:2/d"
    one = make_url("postgresql+psycopg://r:p@a:1/d?sslmode=verify-full")
    assert describe_servers(one) == "a:1/d"
    assert connection_url(settings_of(tmp_path, one.render_as_string(hide_password=False)).database_url()) == one


@pytest.mark.parametrize("content", ["nonsense-with-hush", "://hush@", "postgresql+psycopg://r:hush@a:b/d", "\x00hush"])
def test_a_file_without_a_url_is_refused_and_not_repeated(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingsError, match="KEYFERRY_DATABASE_URL_FILE holds no database URL") as refused:
        engine_for(settings_of(tmp_path, content))
    assert "hush" not in str(refused.value)
