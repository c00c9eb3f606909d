"""The tamper-evident audit: every action, recorded before it takes effect and chained by digests. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import TenantId
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Mark, Moment, Ordinal, Refusing

ClientAddress = Annotated[str, Refusing(64, pattern=r"^[0-9A-Za-z:.%_-]+$", form="an IP address")]
SOURCE_HEADER = "keyferry-source"
"""The header of a request on the bus with its CommandSource, as JSON; an earlier build ignores it."""


class AuditOutcome(StrEnum):
    """Whether the action was carried out."""

    DONE = "done"
    REFUSED = "refused"


class CommandChannel(StrEnum):
    """By what a change was requested."""

    CLI = "cli"
    """The command line."""
    API = "api"
    """The management API over HTTP."""
    CONSOLE = "console"
    """A browser in which somebody has signed in."""


class CommandSource(Message):
    """From where a change was requested."""

    channel: CommandChannel
    address: ClientAddress | None = None
    """The address of the client's connection; null where there is none, as on the bus."""
    request_id: Identifier | None = None
    """The `x-request-id` of the response."""


class UncountedAuditEvent(Message):
    """An action as its service commits it. `details` hold ids, names and counts, never a secret."""

    event_id: Identifier
    service: Identifier
    tenant: TenantId
    actor: Identifier
    action: Annotated[str, Refusing(100, pattern=r"^[a-z]+(?:[._][a-z_]+)*$", form="words as in key.add")]
    """`key.add`, `key.lease`, `vault.shred`, …"""
    target: Explanation
    outcome: AuditOutcome
    details: dict[Identifier, Explanation] = Field(default_factory=dict)
    """What was changed, from which value to which; and what else is to be known of the action."""
    source: CommandSource | None = None
    """Null for what a service does by itself, and for events of earlier builds."""
    at: Moment


class AuditEvent(UncountedAuditEvent):
    """An action as it is published. `details` hold ids, names and counts, never a secret.

    `sequence` counts the events of `service` without gaps, so that the ledger can detect a lost one.
    """

    sequence: Ordinal


class AuditFilter(Command):
    """Which audit entries of a tenant: those that match everything given."""

    tenant: TenantId
    actor: Identifier | None = None
    action: Annotated[str, Refusing(100, pattern=r"^[a-z]+(?:[._][a-z_]+)*$", form="words as in key.add")] | None = None
    """An action, or its first word for all that begin with it: `key` stands for `key.add`, `key.edit`, …"""
    target: Line | None = None
    since: Moment | None = None
    """Inclusive."""
    until: Moment | None = None
    """Exclusive."""


class ListAudit(AuditFilter):
    """Request a tenant's audit entries, newest first. `before` is a position in its chain; null starts at the end."""

    before: Ordinal | None = None
    limit: int = Field(default=100, ge=1, le=1000)


class AuditEntry(Message):
    """An event in its tenant's chain. `digest` covers the event, its position and `previous` (SHA-256, hex)."""

    position: Ordinal
    event: AuditEvent
    previous: Identifier
    digest: Identifier
    recorded_at: Moment


class AuditEntries(Message):
    """A page of a tenant's audit entries."""

    entries: list[AuditEntry]


class VerifyAudit(Command):
    """Verify the audit chain of one tenant, or of all, a page of tenants at a time with `limit`."""

    tenant: TenantId | None = None
    incremental: bool = False
    """Begin where the last verification of a chain without faults has ended. False recomputes every entry."""
    after: TenantId | None = None
    """Where the page begins: `next` of the page before."""
    limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Tenants in one page; null for all in one answer."""


class AuditVerification(Message):
    """The result of a verification: without `faults` the audit is complete and unchanged."""

    tenants: Count
    entries: Count
    faults: list[Explanation] = Field(default_factory=list)
    """Where a chain breaks, in plain text: edited, missing, reordered, truncated."""
    continued: Count = 0
    """Tenants whose chains were verified from a checkpoint on."""
    full_at: Moment | None = None
    """When the chains that were continued were verified from their first entries, the longest ago of them."""
    next: TenantId | None = None
    """Where the next page begins; null at the end."""
    of_tenants: Count | None = None
    """How many tenants have a chain."""


class AuditHead(Message):
    """The head of a tenant's chain, signed by the ledger (Ed25519) and stored outside the table."""

    tenant: TenantId
    position: Count
    digest: Identifier
    at: Moment
    signature: Mark
