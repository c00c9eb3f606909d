"""Entries of backups and restores in the audit log of the installation."""

from datetime import UTC, datetime

from psycopg import sql

from deploy.backup.database import EVENT_OUTBOX
from deploy.backup.servers import connect
from keyferry.contracts import ids
from keyferry.contracts.audit import AuditOutcome, CommandChannel, CommandSource, UncountedAuditEvent
from keyferry.contracts.channels import Role
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import AUDIT_RECORDED

_SERVICE = Role.TENANT_DIRECTORY.value
_SCHEMA = "tenant_directory"


def record(admin_url: Secret, action: str, target: str, details: dict[str, str]) -> None:
    """Enqueue an event in the outbox of the directory, whose process counts and publishes it. Raises psycopg.Error."""
    event = UncountedAuditEvent(
        event_id=ids.new(ids.AUDIT_EVENT),
        service=_SERVICE,
        tenant=PLATFORM_TENANT,
        actor="operator",
        action=action,
        target=target,
        outcome=AuditOutcome.DONE,
        details=details,
        source=CommandSource(channel=CommandChannel.CLI),
        at=datetime.now(UTC),
    )
    query = sql.SQL("INSERT INTO {} (subject, message_id, payload, counted) VALUES (%s, %s, %s, true)")
    values = (AUDIT_RECORDED.format(service=_SERVICE), event.event_id, event.encode())
    with connect(admin_url) as connection:
        connection.execute(query.format(sql.Identifier(_SCHEMA, EVENT_OUTBOX)), values)
