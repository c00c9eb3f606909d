"""Everything a running system lets out of its processes: files, tables, the bus, command lines and environments."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
import psycopg
from nats.aio.msg import Msg
from psycopg import sql

from keyferry.contracts.topology import Role, inbox_prefix
from tests.support.canary.searcher import CapturedOutput
from tests.support.waiting import until

LOGS, LAUNCHER, OTLP, BUS = "logs", "launcher's screen", "OTLP export", "bus"
DATABASE, DATABASE_FILES, JETSTREAM_FILES = "database dump", "database files", "JetStream files"
SPOOL_FILES, RUN_FILES, OTHER_FILES = "spool files", "run files", "other files"
PROCESSES, HTTP, CLI, PROVIDER = "processes", "HTTP answers", "CLI output", "provider"

_SECRETS = "secrets"
"""The one directory of a home where secrets belong."""
_CHANNEL_OF = {
    "log": LOGS,
    "up.log": LAUNCHER,
    "nats": JETSTREAM_FILES,
    "spool": SPOOL_FILES,
    "run": RUN_FILES,
}
_PENDING_BYTES = 1024 * 1024 * 1024


def home_files(home: Path) -> Iterator[CapturedOutput]:
    """Yield every file of an embedded system outside `secrets/`, except those that disappear meanwhile."""
    for entry in sorted(home.iterdir()):
        if entry.name == _SECRETS:
            continue
        database = entry.name.startswith("pg") and (entry / "PG_VERSION").exists()
        channel = DATABASE_FILES if database else _CHANNEL_OF.get(entry.name, OTHER_FILES)
        for path in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            if path.is_file():
                try:
                    yield CapturedOutput(channel, str(path.relative_to(home)), path.read_bytes())
                except FileNotFoundError:
                    continue


def database_dump(admin_url: str) -> Iterator[CapturedOutput]:
    """Yield every table as text, system catalogues included, and bring the files on disk up to date.

    `admin_url` is a superuser's URL for psycopg.
    """
    with psycopg.connect(admin_url, autocommit=True) as connection:
        # Partitioned tables hold nothing themselves: their partitions are tables of their own.
        tables = connection.execute(
            "SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE relkind = 'r' ORDER BY 1, 2"
        ).fetchall()
        for schema, table in tables:
            copy = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
            with connection.cursor() as cursor, cursor.copy(copy) as rows:
                yield CapturedOutput(DATABASE, f"{schema}.{table}", b"".join(bytes(row) for row in rows))
        connection.execute("CHECKPOINT")


def processes(pids: Iterable[int]) -> Iterator[CapturedOutput]:
    """Yield command lines and environments, which other programs on the machine may read (proc(5))."""
    for pid in sorted(pids):
        for name in ("cmdline", "environ"):
            try:
                data = Path("/proc", str(pid), name).read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            command = data.split(b"\0")[:3] if name == "cmdline" else []
            yield CapturedOutput(PROCESSES, f"{pid} {name} {b' '.join(command).decode(errors='replace')}".strip(), data)


class BusTap:
    """A subscriber to every subject of the bus, from the server's start to the end of the block."""

    def __init__(self) -> None:
        self.messages: list[CapturedOutput] = []
        self.gaps: list[str] = []
        """Why messages may be missing; empty when none is."""
        self.connected = threading.Event()
        self._stop = asyncio.Event()

    async def run(self, url: str, seed: str) -> None:
        """Subscribe until `stop` is called."""
        client = await nats.connect(
            url,
            nkeys_seed_str=seed,
            inbox_prefix=inbox_prefix(Role.PROVISIONER).encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.02,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
        )
        await client.subscribe(">", cb=self._on_message, pending_msgs_limit=-1, pending_bytes_limit=_PENDING_BYTES)
        await client.flush()
        self.connected.set()
        await self._stop.wait()
        self.connected.clear()
        await client.close()

    def stop(self) -> None:
        """Stop subscribing. Call it in the loop of `run`."""
        self._stop.set()

    async def _on_message(self, message: Msg) -> None:
        head = f"{message.subject} {message.reply} {message.headers or ''}\n".encode()
        self.messages.append(CapturedOutput(BUS, message.subject, head + message.data))

    async def _on_error(self, error: Exception) -> None:
        if self.connected.is_set():
            self.gaps.append(type(error).__name__)

    async def _on_disconnected(self) -> None:
        if self.connected.is_set():
            self.gaps.append("disconnected")


@contextmanager
def tapped_bus(url: str, seed: str) -> Iterator[BusTap]:
    """Subscribe with the rights of `seed` in a thread of its own; the server may start later."""
    tap, loop = BusTap(), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(tap.run(url, seed)), name="bus tap", daemon=True)
    thread.start()
    try:
        yield tap
    finally:
        until("the tap was connected", tap.connected.is_set)
        loop.call_soon_threadsafe(tap.stop)
        thread.join(10)
        loop.close()
