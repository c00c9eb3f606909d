"""What every transaction of the vault does beside its own work: it tells the views, the tenant and the audit.

All of it is committed together with the change, or none of it.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditOutcome, UncountedAuditEvent
from keyferry.contracts.key import KeyChange, KeyChanged, ProviderKey
from keyferry.contracts.topology import AUDIT_RECORDED, KEY_CHANGED, PROVIDER_KEYS_VIEW, Role
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.event_outbox import enqueue_event
from keyferry.runtime.database.outbox import enqueue
from services.key_vault.database.tables import event_outbox, facts_of, outbox

Clock = Callable[[], datetime]
utc_now = partial(datetime.now, UTC)
_SERVICE = Role.KEY_VAULT.value
_KEY_CHANGE = "evt"
VAULT = "vault"
"""Who acts, in the audit, where nobody asked."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who does what to what, for the audit. `details` hold ids, names and counts, never a secret."""

    actor: str
    action: str
    tenant: str
    target: str
    outcome: AuditOutcome = AuditOutcome.DONE
    details: Mapping[str, str] = field(default_factory=dict)


class Transactions:
    """Opens transactions on the vault's schema and announces in them what is done. `clock` is the UTC time."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end of the block. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self._engine.begin() as connection:
                yield connection

    async def _tell_change(
        self, connection: AsyncConnection, key: ProviderKey, change: KeyChange, detail: str, *, gone: bool = False
    ) -> None:
        """Have the view follow, and the tenant told."""
        value = None if gone else facts_of(key).encode()
        await enqueue(connection, outbox, PROVIDER_KEYS_VIEW.name, view_key(key), value)
        event = KeyChanged(
            key_id=key.key_id,
            tenant=key.tenant,
            provider=key.provider,
            change=change,
            status=key.status,
            detail=detail,
            at=self._clock(),
        )
        subject = KEY_CHANGED.format(tenant=key.tenant)
        await enqueue_event(connection, event_outbox, subject, ids.new(_KEY_CHANGE), event.encode())

    async def _audit(self, connection: AsyncConnection, act: Act, **more: str) -> None:
        """Write an act down. Call it last: acts come in the order of their rows, and this one has its locks by now.

        The relay counts it once it is committed, so that acts do not wait for each other and a failed one leaves no hole.
        """
        event = self._audit_event(act, **more)
        subject = AUDIT_RECORDED.format(service=_SERVICE)
        await enqueue_event(connection, event_outbox, subject, event.event_id, event.encode(), counted=True)

    def _audit_event(self, act: Act, **more: str) -> UncountedAuditEvent:
        return UncountedAuditEvent(
            event_id=ids.new(ids.AUDIT_EVENT),
            service=_SERVICE,
            tenant=act.tenant,
            actor=act.actor,
            action=act.action,
            target=act.target,
            outcome=act.outcome,
            details={**act.details, **more},
            at=self._clock(),
        )


async def hold_tenant(connection: AsyncConnection, tenant: str) -> None:
    """Keep a tenant's keys from being added and shredded at the same time, until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock_number(f"tenant {tenant}")})


def lock_number(name: str) -> int:
    """The advisory lock of a name: a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(f"key-vault {name}".encode()).digest()[:8], "big", signed=True)


def view_key(key: ProviderKey) -> str:
    """Where a key stands in the view."""
    return f"{key.tenant}.{key.key_id}"
