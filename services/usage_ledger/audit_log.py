"""Ingestion of the audit stream into the chains, with the signed heads in a bucket apart from the tables."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.msg import Msg
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts import ids
from keyferry.contracts.audit import (
    AuditEntries,
    AuditEvent,
    AuditHead,
    AuditOutcome,
    AuditVerification,
    ListAudit,
    UncountedAuditEvent,
    VerifyAudit,
)
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.command_source import command_source
from services.usage_ledger.audit_chain import sign
from services.usage_ledger.audit_store import AuditStore
from services.usage_ledger.audit_verification import AuditVerifier
from services.usage_ledger.dead_letter import RejectedRecord
from services.usage_ledger.replayed_record import RawRecord, RecordedAgain

_log = logging.getLogger(__name__)

SaveHead = Callable[[AuditHead], Awaitable[None]]
PublishDeadLetter = Callable[[RejectedRecord], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OwnAction:
    """What somebody had the ledger do."""

    actor: str
    action: str
    target: str
    details: dict[str, str]
    tenant: str = PLATFORM_TENANT
    """In whose chain it belongs."""


class AuditLog:
    """Records audit events, lists them, and verifies the chains."""

    def __init__(
        self,
        *,
        store: AuditStore,
        key: Ed25519PrivateKey,
        save_head: SaveHead,
        verifier: AuditVerifier,
        publish_dead_letter: PublishDeadLetter,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._key = key
        self._save_head = save_head
        self._verifier = verifier
        self._publish_dead_letter = publish_dead_letter
        self._clock = clock

    async def on_events(self, messages: list[Msg]) -> None:
        """Append events to their chains; known ones are skipped by id. Raises when they have to be redelivered."""
        events: list[AuditEvent] = []
        for message in messages:
            try:
                events.append(_decode(message.subject, message.data))
            except MalformedMessage as error:
                await self._reject(_rejected(message.subject, message.data, str(error)))
        if events:
            await self._append(events)

    async def replay(self, record: RawRecord) -> RecordedAgain:
        """Append the event of a dead letter to its chain, unless it is there already."""
        try:
            event = _decode(record.subject, record.data)
        except MalformedMessage as error:
            return RecordedAgain(rejected=[_rejected(record.subject, record.data, str(error))])
        new = not await self._store.is_known(event.event_id)
        await self._append([event])
        return RecordedAgain(new=int(new), known=int(not new))

    async def _append(self, events: list[AuditEvent]) -> None:
        for head in await self._store.append(events, self._clock()):
            await self._save_head(sign(head, self._key))

    async def record(self, actor: str, action: str, target: str, details: dict[str, str]) -> None:
        """Append an action of the ledger itself to the platform's chain. Raises DatabaseUnavailable and nats-py's errors."""
        event = _own_event(OwnAction(actor, action, target, details), self._clock())
        await self.publish(await self._store.append_own(event, event.at))

    async def append(self, connection: AsyncConnection, action: OwnAction) -> AuditHead:
        """Append an action of the ledger itself in the transaction that carries it out; `publish` its head after the commit.

        Call it last: other actions wait until the transaction ends.
        """
        event = _own_event(action, self._clock())
        return await self._store.append_own_within(connection, event, event.at)

    async def publish(self, head: AuditHead) -> None:
        """Sign and store the head of a chain. Raises nats-py's errors."""
        await self._save_head(sign(head, self._key))

    async def entries(self, command: ListAudit) -> AuditEntries:
        """Return a page of a tenant's audit, newest first. Raises DatabaseUnavailable."""
        return AuditEntries(entries=await self._store.page(command))

    async def verify(self, command: VerifyAudit) -> AuditVerification:
        """Verify chains. Raises DatabaseUnavailable, and nats-py's errors if the signed heads cannot be read."""
        return await self._verifier.verify(command)

    async def _reject(self, rejected: RejectedRecord) -> None:
        _log.error("an audit event was rejected", extra={"producer": rejected.producer, "reason": rejected.reason})
        await self._publish_dead_letter(rejected)


def _decode(subject: str, data: bytes) -> AuditEvent:
    event = AuditEvent.decode(data)
    if not AUDIT_RECORDED.matches(subject, event):
        raise MalformedMessage("AuditEvent", "a service may not write another's audit")
    return event


def _rejected(subject: str, data: bytes, reason: str) -> RejectedRecord:
    return RejectedRecord(
        original=data, reason=reason, producer=subject.rpartition(".")[2], stream=AUDIT_RECORDED.stream or ""
    )


def _own_event(action: OwnAction, now: datetime) -> UncountedAuditEvent:
    return UncountedAuditEvent(
        event_id=ids.new(ids.AUDIT_EVENT),
        service=Role.USAGE_LEDGER.value,
        tenant=action.tenant,
        actor=action.actor,
        action=action.action,
        target=action.target,
        outcome=AuditOutcome.DONE,
        details=action.details,
        source=command_source(),
        at=now,
    )
