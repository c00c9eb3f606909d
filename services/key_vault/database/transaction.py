"""Transactions on the vault's tables, with the view entry, the tenant's event and the audit event of each change.

They are committed together with the change, or not at all.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditOutcome, UncountedAuditEvent
from keyferry.contracts.key import KeyChange, KeyChanged, ProviderKey
from keyferry.contracts.topology import AUDIT_RECORDED, KEY_CHANGED, PROVIDER_KEYS_VIEW, Role
from keyferry.runtime.command_source import command_source
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.event_outbox import enqueue_event
from keyferry.runtime.database.outbox import enqueue
from services.key_vault.database.errors import Conflict
from services.key_vault.database.tables import data_keys, event_outbox, key_facts, outbox

Clock = Callable[[], datetime]
utc_now = partial(datetime.now, UTC)
_SERVICE = Role.KEY_VAULT.value
_KEY_CHANGE = "evt"
VAULT = "vault"
"""The actor of audit events that nobody requested."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who did what to what, for the audit. `details` hold ids, names and counts, never a secret."""

    actor: str
    action: str
    tenant: str
    target: str
    outcome: AuditOutcome = AuditOutcome.DONE
    details: Mapping[str, str] = field(default_factory=dict)


class Database:
    """The vault's schema. `clock` returns the time in UTC. Methods that are awaited raise DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self.engine = engine
        self.clock = clock

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is committed at the end of the block."""
        with translate_database_errors():
            async with self.engine.begin() as connection:
                yield connection

    async def audit(self, act: Act) -> None:
        """Write an act that changes no key, such as a refusal; committed on return."""
        async with self.transaction() as connection:
            await self.write_audit(connection, act)

    @asynccontextmanager
    async def try_lock(self, purpose: str) -> AsyncIterator[bool]:
        """Hold the advisory lock of `purpose` until the end of the block; False where another process holds it."""
        async with self.transaction() as connection:
            lock = {"lock": _lock_number(purpose)}
            yield bool(await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), lock))

    async def announce(
        self, connection: AsyncConnection, key: ProviderKey, change: KeyChange, detail: str, *, removed: bool = False
    ) -> None:
        """Enqueue the view's new entry and the tenant's event for a change in this transaction."""
        value = None if removed else key_facts(key).encode()
        await enqueue(connection, outbox, PROVIDER_KEYS_VIEW.name, view_key(key), value)
        event = KeyChanged(
            key_id=key.key_id,
            tenant=key.tenant,
            provider=key.provider,
            change=change,
            status=key.status,
            detail=detail,
            at=self.clock(),
        )
        subject = KEY_CHANGED.format(tenant=key.tenant)
        await enqueue_event(connection, event_outbox, subject, ids.new(_KEY_CHANGE), event.encode())

    async def write_audit(self, connection: AsyncConnection, act: Act, **more: str) -> None:
        """Enqueue an act's audit event in this transaction.

        Call it last: acts are ordered by their rows, and the transaction has all its locks by then. The relay numbers the
        event after the commit, so that acts do not wait for each other and a rolled-back one leaves no gap.
        """
        event = self.audit_event(act, **more)
        subject = AUDIT_RECORDED.format(service=_SERVICE)
        await enqueue_event(connection, event_outbox, subject, event.event_id, event.encode(), counted=True)

    def audit_event(self, act: Act, **more: str) -> UncountedAuditEvent:
        """Return the audit event of an act, with `more` details."""
        return UncountedAuditEvent(
            event_id=ids.new(ids.AUDIT_EVENT),
            service=_SERVICE,
            tenant=act.tenant,
            actor=act.actor,
            action=act.action,
            target=act.target,
            outcome=act.outcome,
            details={**act.details, **more},
            source=command_source(),
            at=self.clock(),
        )


async def lock_tenant(connection: AsyncConnection, tenant: str) -> None:
    """Serialize adding and shredding of a tenant's keys until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _lock_number(f"tenant {tenant}")})


async def require_data_key(connection: AsyncConnection, data_key_id: str) -> None:
    """Check under the tenant's lock that a data key exists. Raises Conflict where it was destroyed."""
    if await connection.scalar(select(data_keys.c.data_key_id).where(data_keys.c.data_key_id == data_key_id)) is None:
        raise Conflict("the tenant's data keys were destroyed meanwhile: do it again")


def view_key(key: ProviderKey) -> str:
    """Return the key of a provider key's entry in the view."""
    return f"{key.tenant}.{key.key_id}"


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"key-vault {name}".encode()).digest()[:8], "big", signed=True)
