"""The compliance report of a tenant: who did what with its data, where its data went, and how it is kept. Pure."""

from pydantic import Field

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, EndpointName, ProviderName, TenantId
from keyferry.contracts.tenancy import ContentDays, ContentPolicy
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment, Ordinal, Url
from keyferry.contracts.usage import KeySource

MAX_LINES_OF_A_PART = 500
"""Rows of one part of a report; `shortened` names the parts that have more."""


class GetComplianceReport(Command):
    """Request the report of a tenant over a span of time."""

    tenant: TenantId
    since: Moment
    """Inclusive."""
    until: Moment
    """Exclusive."""


class AuditedActivity(Message):
    """What one actor did of one kind, by the audit."""

    actor: Actor
    action: Identifier
    """`operator.access`, `content.read`, `session.start`, `member.update`, …"""
    resource: Explanation | None = None
    """What an operator read; null for other actions."""
    outcome: AuditOutcome
    count: Ordinal
    first_at: Moment
    last_at: Moment


class DataDestination(Message):
    """Where requests went, by the records of their attempts."""

    provider: ProviderName
    endpoint: EndpointName | None = None
    """The tenant's own endpoint, if it is one."""
    origin: Url | None = None
    """The `scheme://host:port` that was called; null for the provider's own address."""
    key_source: KeySource
    key_id: Identifier | None = None
    """The tenant's key that was used."""
    region: Line | None = None
    """The region that this key is for; null where the key names none, or is not the tenant's or not there any more."""
    attempts: Ordinal
    first_at: Moment
    last_at: Moment


class KeyActivity(Message):
    """What happened to one provider key, by the audit: added, rotated, removed, or leased by a worker that used it."""

    key_id: Explanation
    action: Identifier
    outcome: AuditOutcome
    count: Ordinal
    first_at: Moment
    last_at: Moment


class RecordedChange(Message):
    """One change, as the audit has it."""

    at: Moment
    actor: Actor
    action: Identifier
    target: Explanation
    outcome: AuditOutcome
    details: dict[Identifier, Explanation] = Field(default_factory=dict)


class ComplianceReport(Message):
    """The report. What is kept now is as of the moment it was made, everything else of its span."""

    tenant: TenantId
    since: Moment
    until: Moment
    content: ContentPolicy
    """What is stored of prompts and answers now."""
    content_days: ContentDays
    """For how long that is."""
    attempts_kept_days: Count | None = None
    """How long records of attempts are kept at least, on which `destinations` rest; null for ever."""
    decisions_kept_days: Count | None = None
    """How long records of decisions are kept at least; null for ever."""
    activities: list[AuditedActivity]
    """Who did what: the most frequent first, leases of keys left out."""
    destinations: list[DataDestination]
    """Where data went: the most frequent first."""
    keys: list[KeyActivity]
    """By key and action."""
    policy_changes: list[RecordedChange]
    """Changes of the tenant's settings, newest first: what is stored, for how long, and whether it is suspended."""
    deletions: list[RecordedChange]
    """What was removed, revoked or destroyed, newest first."""
    shortened: list[Identifier] = Field(default_factory=list)
    """The parts of this report that have more rows than are shown."""
