"""The usage ledger put together."""

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from keyferry.contracts.audit import AuditHead
from keyferry.contracts.key import KeySpend
from keyferry.contracts.topology import ATTEMPT_CONFIRMED, AUDIT_HEADS, KEY_SPENT, RECORD_REJECTED, Role
from keyferry.contracts.usage import AttemptsConfirmed
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import SettingsError, load
from keyferry.runtime.views import ViewWriter, snapshot
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.auditing import Auditing
from services.usage_ledger.dead_letter import Rejected, dead_letter, message_id
from services.usage_ledger.handlers import Handlers
from services.usage_ledger.ingest import Ingest
from services.usage_ledger.settings import LedgerSettings
from services.usage_ledger.spending import Spending
from services.usage_ledger.store import SCHEMA, LedgerStore, NotDurable

_log = logging.getLogger(__name__)

VERSIONS_DIR = Path(__file__).parent / "migrations" / "versions"
_PING_EVERY_SECONDS = 1.0
_PING_TIMEOUT_SECONDS = 3.0
_COMPLAIN_EVERY_SECONDS = 5.0
_PUBLISH_TIMEOUT_SECONDS = 5.0


class Database:
    """The connection to PostgreSQL, and whether it answers now."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._engine = engine_for(settings)
        self._watch: asyncio.Task[None] | None = None
        self._complained_at = 0.0
        self.store = LedgerStore(self._engine)
        self.audit = AuditStore(self._engine)
        self.answers = False

    async def open(self) -> None:
        """Wait for PostgreSQL. Raises SchemaMismatch, and SettingsError where it may forget what it has committed."""
        await open_database(self._engine, SCHEMA, VERSIONS_DIR)
        try:
            await self.store.require_durability()
        except NotDurable as error:
            raise SettingsError(str(error)) from None
        self.answers = True
        self._watch = asyncio.create_task(self._watching(), name="watch PostgreSQL")

    async def close(self) -> None:
        """Stop watching and disconnect."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._engine.dispose()

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(_PING_EVERY_SECONDS)
            self.answers = await self._ping()
            if not self.answers:
                self._complain(asyncio.get_running_loop().time())

    async def _ping(self) -> bool:
        try:
            async with asyncio.timeout(_PING_TIMEOUT_SECONDS):
                await self.store.ping()
        except (DatabaseUnavailable, TimeoutError):
            return False
        return True

    def _complain(self, now: float) -> None:
        if now - self._complained_at >= _COMPLAIN_EVERY_SECONDS:
            self._complained_at = now
            _log.warning(
                "PostgreSQL does not answer at %s: start it (`make up` does); attempts wait in their stream, nothing is lost",
                f"{self._engine.url.host}:{self._engine.url.port}",
            )


async def _confirm(bus: Bus, confirmation: AttemptsConfirmed) -> None:
    await bus.client.publish(ATTEMPT_CONFIRMED.format(worker=confirmation.worker_id), confirmation.encode())


async def _set_aside(bus: Bus, rejected: Rejected) -> None:
    await bus.jetstream.publish(
        RECORD_REJECTED.format(service=bus.user),
        dead_letter(rejected).encode(),
        timeout=_PUBLISH_TIMEOUT_SECONDS,
        headers={"Nats-Msg-Id": message_id(rejected)},
    )


async def _tell_spending(bus: Bus, spend: KeySpend) -> None:
    await bus.jetstream.publish(KEY_SPENT.format(tenant=spend.tenant), spend.encode(), timeout=_PUBLISH_TIMEOUT_SECONDS)


async def _keep_head(bus: Bus, head: AuditHead) -> None:
    await ViewWriter(bus.client, AUDIT_HEADS).put(head.tenant, head.encode())


async def _read_heads(bus: Bus) -> dict[str, AuditHead]:
    entries, _ = await snapshot(bus.client, AUDIT_HEADS)
    return {tenant: AuditHead.decode(value) for tenant, value in entries.items()}


def create_app(settings: LedgerSettings | None = None) -> Service:
    """A process of the usage ledger, with `settings` or those of the environment. Raises SettingsError."""
    settings = settings or load(LedgerSettings)
    prices = load_prices(settings.price_file)
    service = Service(Role.USAGE_LEDGER, settings)
    bus = service.bus
    database = Database(settings)
    spending = Spending(database.store, partial(_tell_spending, bus))
    ingest = Ingest(
        store=database.store,
        prices=prices,
        confirm=partial(_confirm, bus),
        set_aside=partial(_set_aside, bus),
        telemetry=service.telemetry,
        clock=partial(datetime.now, UTC),
        recorded=spending.changed_by,
    )
    auditing = Auditing(
        store=database.audit,
        key=settings.audit_key(),
        keep_head=partial(_keep_head, bus),
        read_heads=partial(_read_heads, bus),
        set_aside=partial(_set_aside, bus),
        clock=partial(datetime.now, UTC),
    )
    Handlers(database.store, ingest, auditing).register(bus)
    service.opens(database.open, database.close)
    service.opens(spending.start, spending.stop)
    service.needs("PostgreSQL", lambda: database.answers)
    service.facts = lambda: {
        "recorded": str(ingest.figures.recorded),
        "repeated": str(ingest.figures.repeated),
        "unpriced": str(ingest.figures.unpriced),
        "decisions": str(ingest.figures.decisions),
        "set_aside": str(ingest.figures.set_aside),
        "prices": prices.version,
    }
    return service
