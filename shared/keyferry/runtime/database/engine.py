"""A service's connection to its own schema of PostgreSQL: wait for the server, then make sure that the tables are right."""

import asyncio
import logging
import select
from pathlib import Path

from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from keyferry.runtime.database.schema_check import require_current_schema
from keyferry.runtime.process.settings import DatabaseSettings

_log = logging.getLogger(__name__)

_TRY_EVERY_SECONDS = 0.25
_COMPLAIN_EVERY_SECONDS = 5.0


def engine_for(settings: DatabaseSettings, *, pool_size: int = 5) -> AsyncEngine:
    """An engine for the service's own role. Errors show no parameters: a statement's values may be a tenant's.

    A connection that the server closed while nobody used it is replaced when it is taken, and costs nobody an error.
    """
    engine = create_async_engine(
        settings.database_url().reveal(), pool_size=pool_size, max_overflow=0, hide_parameters=True
    )
    event.listen(engine.sync_engine, "checkout", _see_that_it_lives)
    return engine


def _see_that_it_lives(_connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Raise DisconnectionError, upon which the pool takes a fresh one, for a connection whose server has hung up.

    Its end can be read from the socket, and between two transactions nothing else can: that is looked at without asking the
    server, since a request would wait for the answer.
    """
    connection = entry.driver_connection
    assert connection is not None
    if connection.closed:
        raise DisconnectionError
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    if socket.poll(0):
        raise DisconnectionError


async def open_database(engine: AsyncEngine, schema: str, versions_dir: Path) -> None:
    """Wait for PostgreSQL, saying every few seconds what is waited for; then raise SchemaMismatch unless the tables fit."""
    await _until_reachable(engine)
    await require_current_schema(engine, schema, versions_dir)


async def _until_reachable(engine: AsyncEngine) -> None:
    waited = 0.0
    while True:
        try:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
            return
        except (SQLAlchemyError, OSError) as error:
            if waited % _COMPLAIN_EVERY_SECONDS == 0:
                _log.warning(
                    "PostgreSQL cannot be used: %s. %s; trying on", type(error).__name__, _way_out(engine, error)
                )
        await asyncio.sleep(_TRY_EVERY_SECONDS)
        waited += _TRY_EVERY_SECONDS


def _way_out(engine: AsyncEngine, error: Exception) -> str:
    where = f"{engine.url.host}:{engine.url.port}/{engine.url.database}"
    if isinstance(error, DBAPIError) and "password" in str(error.orig):
        return f"{where} does not accept the role {engine.url.username}: check the file of KEYFERRY_DATABASE_URL_FILE"
    return f"start the server at {where} (`make up` does) or change the file of KEYFERRY_DATABASE_URL_FILE"
