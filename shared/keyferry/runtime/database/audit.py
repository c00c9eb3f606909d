"""Audit events of a service, committed together with the change that they are about."""

from datetime import UTC, datetime

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditOutcome, UncountedAuditEvent
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.command_source import command_source
from keyferry.runtime.database.event_outbox import enqueue_event


async def audit_change(
    connection: AsyncConnection,
    events: Table,
    *,
    service: Role,
    actor: str,
    action: str,
    tenant: str,
    target: str,
    details: dict[str, str],
) -> None:
    """Enqueue the audit event of a change in the caller's transaction, in the table of `event_outbox_table`.

    Call it last, and wake the event relay after the commit. `details` hold names and values that are not secret.
    """
    event = UncountedAuditEvent(
        event_id=ids.new(ids.AUDIT_EVENT),
        service=service.value,
        tenant=tenant,
        actor=actor,
        action=action,
        target=target,
        outcome=AuditOutcome.DONE,
        details=details,
        source=command_source(),
        at=datetime.now(UTC),
    )
    subject = AUDIT_RECORDED.format(service=service.value)
    await enqueue_event(connection, events, subject, event.event_id, event.encode(), counted=True)
