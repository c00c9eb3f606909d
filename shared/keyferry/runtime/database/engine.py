"""A service's connection to its own PostgreSQL schema: waits for the server, then checks the revision of the tables."""

import asyncio
import logging
import select
from pathlib import Path

from sqlalchemy import URL, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from keyferry.runtime.database.connecting import connection_url, survive_failovers
from keyferry.runtime.database.remedies import find_remedy
from keyferry.runtime.database.schema_check import require_current_schema
from keyferry.runtime.database.tenant_isolation import confine_to_scope
from keyferry.runtime.metrics.connection_pools import POOLS
from keyferry.runtime.process.settings import DatabaseSettings

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.25
_LOG_EVERY_SECONDS = 5.0


def engine_for(settings: DatabaseSettings, *, pool_size: int = 5) -> AsyncEngine:
    """Return an engine for the service's own role. Its errors show no parameters, which may be a tenant's values.

    Transactions that begin in a `tenant_scope` see that tenant's rows only.
    A connection that the server closed while it was idle is replaced when it is taken from the pool, without an error. Of several
    servers in the URL, the one that takes changes is used. Raises SettingsError for a file without a URL.
    """
    engine = create_async_engine(
        connection_url(settings.database_url()), pool_size=pool_size, max_overflow=0, hide_parameters=True
    )
    survive_failovers(engine)
    event.listen(engine.sync_engine, "checkout", _check_liveness)
    confine_to_scope(engine)
    POOLS.add(engine.sync_engine.pool)  # type: ignore[arg-type]  # a QueuePool, which counts its connections
    return engine


def replica_engine(url: URL) -> AsyncEngine:
    """Return an engine of one connection that asks a standby how far it is. It reads no table."""
    return create_async_engine(url, pool_size=1, max_overflow=0, hide_parameters=True)


def _check_liveness(_connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Raise DisconnectionError, for which the pool takes a fresh connection, if the server has closed this one.

    Between two transactions the socket is readable only if the server has closed it. Polling it needs no round trip, for which
    a request would have to wait.
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
    """Wait for PostgreSQL, logging the cause every few seconds; then raise SchemaMismatch unless the tables are current."""
    await _wait_until_reachable(engine)
    await require_current_schema(engine, schema, versions_dir)


async def _wait_until_reachable(engine: AsyncEngine) -> None:
    waited = 0.0
    while True:
        try:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
            return
        except (SQLAlchemyError, OSError) as error:
            if waited % _LOG_EVERY_SECONDS == 0:
                said = str(error.orig) if isinstance(error, DBAPIError) else ""
                remedy = find_remedy(engine.url, said)
                _log.warning("PostgreSQL is unavailable: %s. %s; retrying", type(error).__name__, remedy)
        await asyncio.sleep(_RETRY_SECONDS)
        waited += _RETRY_SECONDS
