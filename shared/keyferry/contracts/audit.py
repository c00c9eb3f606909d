"""The tamper-evident audit: every action, recorded before it takes effect and chained by digests. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import TenantId


class AuditOutcome(StrEnum):
    """Whether the action was carried out."""

    DONE = "done"
    REFUSED = "refused"


class UncountedAuditEvent(Message):
    """An action as its service commits it. `details` hold ids, names and counts, never a secret."""

    event_id: str
    service: str
    tenant: TenantId
    actor: str
    action: Annotated[str, StringConstraints(pattern=r"^[a-z]+(?:[._][a-z_]+)*$")]
    """`key.add`, `key.lease`, `vault.shred`, …"""
    target: str
    outcome: AuditOutcome
    details: dict[str, str] = Field(default_factory=dict)
    at: datetime


class AuditEvent(UncountedAuditEvent):
    """An action as it is published. `details` hold ids, names and counts, never a secret.

    `sequence` counts the events of `service` without gaps, so that the ledger can detect a lost one.
    """

    sequence: int = Field(ge=1)


class ListAudit(Command):
    """Request a tenant's audit entries, newest first. `before` is a position in its chain; null starts at the end."""

    tenant: TenantId
    before: int | None = Field(default=None, ge=1)
    limit: int = Field(default=100, ge=1, le=1000)


class AuditEntry(Message):
    """An event in its tenant's chain. `digest` covers the event, its position and `previous` (SHA-256, hex)."""

    position: int = Field(ge=1)
    event: AuditEvent
    previous: str
    digest: str
    recorded_at: datetime


class AuditEntries(Message):
    """A page of a tenant's audit entries."""

    entries: list[AuditEntry]


class VerifyAudit(Command):
    """Recompute the audit chain of one tenant, or of all."""

    tenant: TenantId | None = None


class AuditVerification(Message):
    """The result of a verification: without `faults` the audit is complete and unchanged."""

    tenants: int = Field(ge=0)
    entries: int = Field(ge=0)
    faults: list[str] = Field(default_factory=list)
    """Where a chain breaks, in plain text: edited, missing, reordered, truncated."""


class AuditHead(Message):
    """The head of a tenant's chain, signed by the ledger (Ed25519) and stored outside the table."""

    tenant: TenantId
    position: int = Field(ge=0)
    digest: str
    at: datetime
    signature: str
