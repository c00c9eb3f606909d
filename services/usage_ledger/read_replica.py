"""A standby for queries of usage and of the request log, as long as it is at most so far behind.

How far it is behind is measured here, by positions in the write-ahead log. Once a second the primary's is noted with the time
before it was asked for, and everything committed by then is in the standby once that has replayed so far. So nothing depends on
clocks of other machines, a primary without changes makes no standby look late, and one that lost its primary looks late soon.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import URL, Dialect, event, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.connecting import connect_patiently, connection_url, describe_servers
from keyferry.runtime.database.engine import engine_for, replica_engine
from keyferry.runtime.process.settings import read_secret
from services.usage_ledger.settings import LedgerSettings

_log = logging.getLogger(__name__)

CompleteUntil = Callable[[], datetime | None]
"""Says up to when everything is recorded; None if that is not known."""
_CONNECTIONS = 4
_ROUND_SECONDS = 1.0
_ANSWER_SECONDS = 3.0
_MOST_MARKS = 3600
_ON_REPLICA = "on the replica"
_PRIMARY = text("SELECT pg_current_wal_lsn()::text")
_REPLICA = text("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END")


class Mark(NamedTuple):
    """The primary's position at a time (monotonic, seconds), and up to when attempts were recorded by then."""

    at: float
    position: int
    complete_until: datetime | None


class ReplicaLag:
    """What is known of the distance between the two; usable from the second measurement in a row that is good enough.

    The first one already makes `complete_until` careful, so that no query that was about to go to the primary claims more
    than the replica has.
    """

    def __init__(self, max_lag_seconds: float) -> None:
        self._max_lag_seconds = max_lag_seconds
        self._marks: deque[Mark] = deque(maxlen=_MOST_MARKS)
        self._reached: Mark | None = None
        self._good = 0

    def add_mark(self, mark: Mark) -> None:
        """Note a position of the primary."""
        self._marks.append(mark)

    def add_replayed(self, position: int | None, now: float) -> None:
        """Note what the replica has; None if it does not answer, or is no standby any more."""
        while position is not None and self._marks and self._marks[0].position <= position:
            self._reached = self._marks.popleft()
        self._good = self._good + 1 if position is not None and self._is_near(now) else 0

    def seconds(self, now: float) -> float | None:
        """Return how far the replica is behind at most; None if it was never measured."""
        return None if self._reached is None else now - self._reached.at

    def usable(self, now: float) -> bool:
        """Return whether queries may go to the replica."""
        return self._good > 1 and self._is_near(now)

    def complete_until(self, now: float, of_primary: datetime | None) -> datetime | None:
        """Return up to when everything is recorded that a query finds, wherever it goes."""
        if self._good == 0 or self._reached is None or not self._is_near(now):
            return of_primary
        found = self._reached.complete_until
        return None if found is None or of_primary is None else min(found, of_primary)

    def _is_near(self, now: float) -> bool:
        behind = self.seconds(now)
        return behind is not None and behind <= self._max_lag_seconds


class UsageQueries:
    """The engine for queries of usage and of the request log: `readers` of the primary, or one that prefers the replica."""

    def __init__(self, settings: LedgerSettings, primary: AsyncEngine, readers: AsyncEngine) -> None:
        self.engine = readers
        self._replica: ReadReplica | None = None
        if settings.database_replica_url_file is not None:
            url = connection_url(read_secret(settings.database_replica_url_file), "KEYFERRY_DATABASE_REPLICA_URL_FILE")
            self.engine = engine_for(settings, pool_size=_CONNECTIONS)
            self._replica = ReadReplica(url, settings.database_replica_max_lag_seconds, primary, self.engine)

    def careful(self, complete_until: CompleteUntil) -> CompleteUntil:
        """Return what says up to when usage is complete in what a query finds; `complete_until` says it of the primary."""
        return complete_until if self._replica is None else self._replica.careful(complete_until)

    def notes(self) -> list[str]:
        """Return what an operator has to attend to."""
        return [] if self._replica is None else self._replica.notes()

    def start(self) -> None:
        """Begin to measure how far a replica is behind."""
        if self._replica is not None:
            self._replica.start()

    async def stop(self) -> None:
        """Stop that, and disconnect; `readers` stay."""
        if self._replica is not None:
            await self._replica.stop()
            await self.engine.dispose()


class ReadReplica:
    """Sends the connections of `readers`, an engine for the primary, to the replica while that is usable."""

    def __init__(self, url: URL, max_lag_seconds: float, primary: AsyncEngine, readers: AsyncEngine) -> None:
        self._primary = primary
        url = url.update_query_dict({"connect_timeout": "3"}) if "connect_timeout" not in url.query else url
        self._replica = replica_engine(url)
        self._where = describe_servers(url)
        self._max_lag_seconds = max_lag_seconds
        self._lag = ReplicaLag(self._max_lag_seconds)
        self._complete_until: CompleteUntil = lambda: None
        self._task: asyncio.Task[None] | None = None
        self._was_usable: bool | None = None
        if event.contains(readers.sync_engine, "do_connect", connect_patiently):
            event.remove(readers.sync_engine, "do_connect", connect_patiently)  # the first listener would decide
        event.listen(readers.sync_engine, "do_connect", self._connect)
        event.listen(readers.sync_engine, "checkout", self._check)

    def careful(self, complete_until: CompleteUntil) -> CompleteUntil:
        """Return `complete_until`, and less while queries may go to the replica."""
        self._complete_until = complete_until
        return lambda: self._lag.complete_until(time.monotonic(), complete_until())

    def notes(self) -> list[str]:
        """Return what an operator has to attend to."""
        if self._was_usable is None or self._lag.usable(time.monotonic()):
            return []
        behind = self._lag.seconds(time.monotonic())
        how = "does not answer as a standby" if behind is None else f"is {behind:.0f} s behind"
        return [
            f"the read replica {self._where} {how}, more than {self._max_lag_seconds:g} s: usage is read from the primary"
        ]

    def start(self) -> None:
        """Measure from now on."""
        self._task = asyncio.create_task(self._measure(), name="watch the read replica")

    async def stop(self) -> None:
        """Stop, and disconnect."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        await self._replica.dispose()

    async def _measure(self) -> None:
        while True:
            complete, at = self._complete_until(), time.monotonic()
            position = await _position(self._primary, _PRIMARY)
            if position is not None:
                self._lag.add_mark(Mark(at, position, complete))
            self._lag.add_replayed(await _position(self._replica, _REPLICA), time.monotonic())
            usable = self._lag.usable(time.monotonic())
            if usable is not self._was_usable:
                _log.info(
                    "usage is read from the %s", "replica" if usable else "primary", extra={"replica": self._where}
                )
            self._was_usable = usable
            await asyncio.sleep(_ROUND_SECONDS)

    def _connect(
        self, dialect: Dialect, entry: ConnectionPoolEntry, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Connect to the replica while it is usable, else to the primary."""
        entry.info[_ON_REPLICA] = False
        if self._lag.usable(time.monotonic()):
            of_replica, its_options = dialect.create_connect_args(self._replica.url)
            with suppress(dialect.loaded_dbapi.OperationalError):
                found = dialect.connect(*of_replica, **its_options)
                entry.info[_ON_REPLICA] = True
                return found
            self._lag.add_replayed(None, time.monotonic())
        return connect_patiently(dialect, entry, arguments, options)

    def _check(self, _connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
        """Have the pool replace a connection to the other server. Raises DisconnectionError."""
        if entry.info.get(_ON_REPLICA, False) is not self._lag.usable(time.monotonic()):
            raise DisconnectionError


async def _position(engine: AsyncEngine, question: Any) -> int | None:
    """Return a position in the write-ahead log; None if the server does not answer, or is not what it should be."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS), engine.connect() as connection:
            found = await connection.scalar(question)
    except (SQLAlchemyError, OSError, TimeoutError):
        return None
    return None if found is None else parse_position(str(found))


def parse_position(found: str) -> int:
    """Return a position as a number: PostgreSQL writes two halves, in hexadecimal."""
    high, low = found.split("/")
    return (int(high, 16) << 32) | int(low, 16)
