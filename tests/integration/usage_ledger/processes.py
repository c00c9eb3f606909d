"""A ledger with real servers, a worker, a router and an operator."""

import asyncio
import random
import secrets
import signal
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError
from psycopg.rows import TupleRow, dict_row
from sqlalchemy.engine import make_url

from keyferry.contracts.price_edits import PriceEntry
from keyferry.contracts.routing_management import PRICES_VIEW
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.topology import ATTEMPT_CONFIRMED, ATTEMPT_FINISHED, REQUEST_DECIDED, SERVICE_PING, Role
from keyferry.contracts.usage import AttemptRecord, AttemptsConfirmed
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import ViewWriter
from keyferry.sealing.framing import to_base64
from services.usage_ledger.app import create_app
from services.usage_ledger.attempt_packing import whole_row
from services.usage_ledger.dead_letter import DeadLetter
from services.usage_ledger.settings import LedgerSettings
from tests.support.ledger.attempt_records import WORKER, batch_message
from tests.support.servers.provisioned_bus import ProvisionedBus, until_subscribed
from tests.support.servers.service_process import service_process
from tests.support.waiting import eventually

TIMEOUT_SECONDS = 60.0


@dataclass
class Process:
    """A ledger in an operating system process of its own."""

    child: asyncio.subprocess.Process
    stderr: Path

    def log(self) -> str:
        return self.stderr.read_text()

    def kill(self) -> None:
        self.child.kill()

    def terminate(self) -> None:
        self.child.send_signal(signal.SIGTERM)

    async def exited(self) -> int:
        return await asyncio.wait_for(self.child.wait(), TIMEOUT_SECONDS)


@dataclass(frozen=True)
class LedgerServers:
    """The servers of one test, and their credentials."""

    installation: ProvisionedBus
    admin_url: Secret
    database_url_file: Path
    directory: Path

    def settings(self) -> LedgerSettings:
        return LedgerSettings(
            nats_url=self.installation.nats_url,
            nats_nkey_file=self.installation.seed_file(Role.USAGE_LEDGER),
            database_url_file=self.database_url_file,
            audit_key_file=self.audit_key_file(),
            credit_key_file=self.key_file("credit-key"),
            drain_seconds=5,
        )

    def audit_key_file(self) -> Path:
        """Return the file of the key that signs the audit's heads, created on first use."""
        return self.key_file("audit-key")

    def key_file(self, name: str) -> Path:
        """Return the file of an Ed25519 key, created on first use."""
        file = self.directory / name
        if not file.exists():
            file.write_text(to_base64(secrets.token_bytes(32)))
        return file

    async def publish_prices(self, entries: Mapping[str, PriceEntry]) -> None:
        """Make these the prices that operators have set, as a router does. A ledger waits for them."""
        async with self.installation.client(Role.ROUTER) as router:
            await ViewWriter(router, PRICES_VIEW).reconcile({key: entry.encode() for key, entry in entries.items()})

    @asynccontextmanager
    async def in_process(self) -> AsyncIterator[Service]:
        """Run a ledger in this process until it is drained."""
        service = create_app(self.settings())
        life = asyncio.create_task(service.run())
        try:
            async with self.operator() as operator:
                await reports(operator, 1)
            await until_subscribed(service.bus, life)
            yield service
        finally:
            service.app.exit()
            await asyncio.wait_for(life, TIMEOUT_SECONDS)

    @asynccontextmanager
    async def process(self, **environment: str) -> AsyncIterator[Process]:
        """Run a ledger in a process of its own; it is killed at the end if it still runs."""
        settings = self.settings()
        files = {
            "KEYFERRY_NATS_URL": settings.nats_url,
            "KEYFERRY_NATS_NKEY_FILE": str(settings.nats_nkey_file),
            "KEYFERRY_DATABASE_URL_FILE": str(settings.database_url_file),
            "KEYFERRY_AUDIT_KEY_FILE": str(settings.audit_key_file),
            "KEYFERRY_CREDIT_KEY_FILE": str(settings.credit_key_file),
        }
        log = self.directory / f"ledger-{secrets.token_hex(4)}.log"
        async with service_process(Role.USAGE_LEDGER, files | environment, log) as child:
            yield Process(child, log)

    @asynccontextmanager
    async def worker(self, user: str = WORKER) -> AsyncIterator["Worker"]:
        """Connect a worker, with a worker's permissions."""
        async with self.installation.client(user) as client:
            worker = Worker(user, client)
            await client.subscribe(ATTEMPT_CONFIRMED.format(worker=user), cb=worker.on_confirmed)
            await client.flush()
            yield worker

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Bus]:
        """Connect an operator."""
        async with self.installation.connected(Role.OPERATOR) as bus:
            yield bus

    async def decide(self, lines: Sequence[bytes]) -> None:
        """Publish decisions as a router does."""
        async with self.installation.client(Role.ROUTER) as client:
            await client.jetstream().publish(
                REQUEST_DECIDED.format(service=Role.ROUTER), batch_message(lines, producer=Role.ROUTER, spool_id=None)
            )

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters."""
        found: list[DeadLetter] = []
        async with self.installation.client(Role.PROVISIONER) as client:
            jetstream = client.jetstream()
            state = (await jetstream.stream_info("DEAD_LETTERS")).state
            for seq in range(state.first_seq or 1, state.last_seq + 1):
                try:
                    message = await jetstream.get_msg("DEAD_LETTERS", seq)
                except NotFoundError:
                    continue
                found.append(DeadLetter.decode(message.data or b""))
        return found

    def database(self) -> str:
        """Return the name of the test's database."""
        return str(make_url(self.admin_url.reveal()).database)

    def query(self, statement: str, database: str | None = None) -> list[TupleRow]:
        """Return rows as the database's superuser."""
        url = make_url(self.admin_url.reveal()).set(drivername="postgresql", database=database or self.database())
        conninfo = url.render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def attempts(self) -> list[dict[str, Any]]:
        """Return the whole rows of all attempts, in the order of their ids."""
        url = make_url(self.admin_url.reveal()).set(drivername="postgresql", database=self.database())
        with psycopg.connect(url.render_as_string(hide_password=False), row_factory=dict_row) as connection:
            rows = connection.execute("SELECT * FROM usage_ledger.attempts ORDER BY attempt_id").fetchall()
        return [whole_row(row) for row in rows]

    def recorded(self) -> list[str]:
        """Return the ids of all attempts in the table, in order, with repetitions if there were any."""
        return [row[0] for row in self.query("SELECT attempt_id FROM usage_ledger.attempts ORDER BY attempt_id")]


@dataclass
class Worker:
    """A worker that publishes batches and collects confirmations."""

    user: str
    client: Client
    confirmed: dict[str, list[int]] = field(default_factory=dict)
    """Confirmed spool numbers by spool, as often as they were confirmed."""

    async def on_confirmed(self, message: Msg) -> None:
        found = AttemptsConfirmed.decode(message.data)
        assert found.worker_id == self.user
        self.confirmed.setdefault(found.spool_id, []).extend(found.spool_seqs)

    async def publish(self, lines: Sequence[bytes], *, spool_id: str = "spl_1") -> None:
        await self.send(batch_message(lines, producer=self.user, spool_id=spool_id))

    async def send(self, data: bytes) -> None:
        await self.client.jetstream().publish(ATTEMPT_FINISHED.format(worker=self.user), data, timeout=20)

    async def until_confirmed(
        self, records: Iterable[AttemptRecord], *, spool_id: str = "spl_1", timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        expected = {record.spool_seq for record in records}
        await eventually(
            "everything is confirmed",
            lambda: expected <= set(self.confirmed.get(spool_id, ())),
            timeout_seconds,
        )


def shuffle_into_batches(records: Sequence[AttemptRecord], seed: int) -> list[list[bytes]]:
    """Return every record one to five times, in any order, in batches of up to 64."""
    chance = random.Random(seed)
    lines = [record.encode() for record in records for _ in range(chance.randint(1, 5))]
    chance.shuffle(lines)
    batches = []
    while lines:
        size = chance.randint(1, 64)
        batches.append(lines[:size])
        lines = lines[size:]
    return batches


async def reports(operator: Bus, processes: int) -> list[ServiceReport]:
    """Return the reports of so many ledgers, once all of them are ready."""
    found: dict[str, ServiceReport] = {}

    async def note(message: Msg) -> None:
        if message.data:
            report = ServiceReport.decode(message.data)
            found[report.instance_id] = report

    inbox = operator.client.new_inbox()
    subscription = await operator.client.subscribe(inbox, cb=note)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while sum(report.ready for report in found.values()) < processes:
                await operator.client.publish(SERVICE_PING.format(), Ping().encode(), reply=inbox)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never ready; the last reports: {found}") from None
    finally:
        await subscription.unsubscribe()
    return [report for report in found.values() if report.ready]
