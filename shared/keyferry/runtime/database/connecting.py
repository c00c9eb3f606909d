"""How connections to PostgreSQL are made: one server or several, of which one at a time takes changes."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, Dialect, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only

from keyferry.contracts.secret import Secret
from keyferry.runtime.lost_reads import note_lost_connection, note_statement
from keyferry.runtime.process.settings import SettingsError

READ_ONLY = "25006"
"""SQLSTATE of a change on a server that takes none: a standby, or a primary that was one until now (PostgreSQL, appendix A)."""
_FAILOVER_SECONDS = 5.0
"""A request waits so long for a server that takes changes; a failover needs some seconds."""
_RETRY_SECONDS = 0.2
_OF_SEVERAL = {
    "target_session_attrs": "read-write",
    "connect_timeout": "3",
    "keepalives_idle": "3",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "6000",
}
"""libpq's own defaults connect to a standby, wait 130 s for a machine that is gone, and notice one after hours."""


def connection_url(text: Secret, name: str = "KEYFERRY_DATABASE_URL_FILE") -> URL:
    """Return the URL in a file; with several hosts, with what makes a failover quick, unless the URL says otherwise.

    Raises SettingsError naming the variable of the file, and nothing of its content.
    """
    try:
        url = make_url(text.reveal())
    except (ArgumentError, ValueError):
        raise SettingsError(
            f"the file of {name} holds no database URL: write postgresql+psycopg://ROLE:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    return prefer_writable(url)


def prefer_writable(url: URL) -> URL:
    """Return the URL; with several hosts, with what makes a failover quick, unless the URL says otherwise."""
    if not has_several_hosts(url):
        return url
    return url.update_query_dict({key: value for key, value in _OF_SEVERAL.items() if key not in url.query})


def libpq_options(url: URL) -> dict[str, Any]:
    """Return what libpq takes for a URL, whose several hosts it would not understand as SQLAlchemy writes them."""
    _, options = url.get_dialect()().create_connect_args(prefer_writable(url))
    return dict(options)


def has_several_hosts(url: URL) -> bool:
    """Return whether the URL names more than one server."""
    return len(_hosts(url)) > 1


def describe_servers(url: URL) -> str:
    """Return the servers and the database of a URL for a message, without role, password and options."""
    hosts = _hosts(url)
    if not hosts:
        return f"{url.host}:{url.port}/{url.database}"
    return f"{','.join(hosts)}/{url.database}"


def survive_failovers(engine: AsyncEngine) -> None:
    """Leave a server that takes no changes any more, wait a moment for the one that does, and say which reads may be repeated."""
    event.listen(engine.sync_engine, "handle_error", _leave_read_only_server)
    event.listen(engine.sync_engine, "handle_error", _note_lost_connection)
    event.listen(engine.sync_engine, "before_cursor_execute", _note_statement)
    if has_several_hosts(engine.url):
        event.listen(engine.sync_engine, "do_connect", connect_patiently)


def _leave_read_only_server(context: ExceptionContext) -> None:
    """Have the pool replace all its connections, which are to the same server."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _note_lost_connection(context: ExceptionContext) -> None:
    # Without a connection none could be made, which was tried for long enough.
    if context.is_disconnect and context.connection is not None:
        note_lost_connection()


def _note_statement(_connection: object, _cursor: object, statement: str, *_: object) -> None:
    note_statement(statement)


def connect_patiently(
    dialect: Dialect, _entry: ConnectionPoolEntry, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Try again for a while: nothing was sent yet, so this is safe for any statement. Raises psycopg.OperationalError."""
    return retry_connecting(lambda: dialect.connect(*arguments, **options), dialect)


def retry_connecting(connect: Callable[[], Any], dialect: Dialect) -> Any:
    """Return what `connect` returns, tried for some seconds unless the server refuses the role."""
    give_up = time.monotonic() + _FAILOVER_SECONDS
    while True:
        try:
            return connect()
        except dialect.loaded_dbapi.OperationalError as error:
            if "password" in str(error) or time.monotonic() > give_up:
                raise
        await_only(asyncio.sleep(_RETRY_SECONDS))


def _hosts(url: URL) -> list[str]:
    """Return the servers that the query names: `host=a:1&host=b:2`, or `host=a,b&port=1,2` as libpq has it."""
    named = url.query.get("host", ())
    hosts = [named] if isinstance(named, str) else list(named)
    hosts = [host for part in hosts for host in part.split(",") if host]
    ports = url.query.get("port", "")
    if isinstance(ports, str) and ports:
        listed = ports.split(",")
        listed *= len(hosts) if len(listed) == 1 else 1
        return [f"{host}:{port}" for host, port in zip(hosts, listed, strict=False)]
    return hosts
