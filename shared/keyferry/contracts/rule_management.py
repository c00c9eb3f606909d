"""Messages that save, compare, publish and restore a tenant's routing rules, and plan past requests again with them. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, Operation, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.rules import RuleFinding, RuleName, RuleSet
from keyferry.contracts.text import Cleaned, Count, Explanation, Identifier, Line, Moment, Ordinal, Refusing

MAX_DRY_RUN = 1000
"""Most past requests of one dry run."""
MAX_VERSIONS = 1000
"""Most versions in one answer."""

Note = Annotated[str, Refusing(500, min_characters=0, no_key=True)]
"""Why a version was published."""


class RuleSetVersion(Message):
    """A published version; it never changes."""

    tenant: TenantId
    version: Ordinal
    rule_set: RuleSet
    note: Note = ""
    actor: Actor
    published_at: Moment
    restored_from: Ordinal | None = None
    """The earlier version that it restores, if any."""


class RuleDraft(Message):
    """What a tenant is about to publish. There is at most one draft per tenant."""

    tenant: TenantId
    revision: Ordinal
    """Changes with every save: the next save has to name it."""
    rule_set: RuleSet
    actor: Actor
    saved_at: Moment
    based_on: Count = 0
    """The version that was published when it was begun; 0 for none."""


class GetRules(Command):
    """Request a version of a tenant's rules, and its draft. The tenant `platform` has those for all tenants."""

    tenant: TenantId
    version: Ordinal | None = None
    """Null for the published one."""


class RoutingRules(Message):
    """A version of a tenant's rules, and its draft."""

    tenant: TenantId
    published: Count = 0
    """The number of the published version; 0 if nothing was published."""
    version: RuleSetVersion | None = None
    """The version that was asked for."""
    draft: RuleDraft | None = None
    not_applied: Explanation | None = None
    """Why the published rules do not count: the tenant's tier does not include rules of its own, as after a downgrade."""


class SaveRuleDraft(Command):
    """Save a draft. It may have faults, which the answer lists."""

    tenant: TenantId
    actor: Actor = "operator"
    """Who does it, for the audit."""
    rule_set: RuleSet
    revision: Count
    """The revision of the draft that this replaces; 0 if there is none."""


class SavedRuleDraft(Message):
    """The draft as it was saved."""

    draft: RuleDraft
    findings: list[RuleFinding] = Field(default_factory=list)


class DiscardRuleDraft(Command):
    """Remove the draft."""

    tenant: TenantId
    actor: Actor = "operator"
    """Who does it, for the audit."""
    revision: Ordinal | None = None
    """The revision that the draft must have; null for any."""


class CompareRules(Command):
    """Request the difference between a version and a rule set that may replace it."""

    tenant: TenantId
    rule_set: RuleSet | None = None
    """Null for the draft."""
    version: Ordinal | None = None
    """Null for the published version."""


class RuleChangeKind(StrEnum):
    """How a rule differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"
    """Only its place among the other rules differs."""


class RuleChange(Message):
    """How one rule differs."""

    rule: RuleName
    change: RuleChangeKind
    fields: list[Line] = Field(default_factory=list)
    """The fields that differ, such as `when.model` and `chain`."""


class RuleDifference(Message):
    """The difference between two rule sets, for programs and as text."""

    tenant: TenantId
    version: Count = 0
    """The version that was compared with; 0 for none."""
    changes: list[RuleChange]
    text: list[Annotated[str, Cleaned(2000)]]
    """The lines of a unified diff; empty if nothing differs."""
    findings: list[RuleFinding] = Field(default_factory=list)


class PublishRules(Command):
    """Publish a rule set, unless it has faults."""

    tenant: TenantId
    actor: Actor = "operator"
    """Who does it, for the audit."""
    note: Note = ""
    rule_set: RuleSet | None = None
    """Null for the draft, which is then removed."""
    revision: Ordinal | None = None
    """The revision that the draft must have; null for any."""
    expected_version: Count | None = None
    """The version that must be the published one, 0 for none; null for any."""


class RollBackRules(Command):
    """Publish an earlier version again, as a new version."""

    tenant: TenantId
    actor: Actor = "operator"
    """Who does it, for the audit."""
    version: Ordinal
    note: Note = ""
    expected_version: Count | None = None
    """The version that must be the published one; null for any."""


class PublishedRules(Message):
    """The published version."""

    version: RuleSetVersion
    changed: bool
    """False if the same rules were published already: that version then stays."""
    findings: list[RuleFinding] = Field(default_factory=list)
    """Warnings."""


class ListRuleVersions(Command):
    """Request the versions of a tenant's rules, newest first."""

    tenant: TenantId
    before: Ordinal | None = None
    """Only those with a lower number."""
    limit: int = Field(default=50, ge=1, le=MAX_VERSIONS)


class RuleVersionSummary(Message):
    """One version without its rules."""

    version: Ordinal
    note: Note = ""
    actor: Actor
    published_at: Moment
    restored_from: Ordinal | None = None
    rules: Count


class RuleVersions(Message):
    """Versions, newest first."""

    published: Count = 0
    """The number of the published version; 0 for none."""
    versions: list[RuleVersionSummary]


class DryRunRules(Command):
    """Plan past requests again, with the published rules and with a rule set that may replace them."""

    tenant: TenantId
    rule_set: RuleSet | None = None
    """Null for the draft."""
    since: Moment | None = None
    """Null for seven days ago."""
    until: Moment | None = None
    limit: int = Field(default=500, ge=1, le=MAX_DRY_RUN)
    """The newest requests of the period."""


class ModelMove(Message):
    """Requests that one model would answer in place of another. Null stands for a refusal."""

    before: Line | None = None
    """`provider/model` that would answer under the published rules."""
    after: Line | None = None
    requests: Ordinal
    cost_before_usd: Usd | None = None
    """Of the requests with a known cost on both sides; null without any."""
    cost_after_usd: Usd | None = None
    unpriced: Count = 0
    """Requests whose cost is unknown on one of the sides."""
    latency_before_ms: Count | None = None
    """The median of past attempts; null without any."""
    latency_after_ms: Count | None = None


class RuleMatches(Message):
    """How many of the past requests a rule matches."""

    rule: RuleName
    requests: Count


class DryRunExample(Message):
    """One past request that would be planned differently."""

    request_id: Identifier
    operation: Operation | None = None
    model_asked: Line
    before: Line | None = None
    after: Line | None = None
    rule: RuleName | None = None
    """The rule that would match it."""
    reason: Explanation = ""
    """Why it would be refused, if it would."""


class DryRunReport(Message):
    """What would be different. Health is ignored, and keys, prices and the catalog are today's."""

    tenant: TenantId
    published: Count = 0
    """The version that the rule set was compared with; 0 for none."""
    requests: Count
    """How many past requests were planned."""
    oldest: Moment | None = None
    newest: Moment | None = None
    more: bool = False
    """Whether the period has more requests than were planned."""
    changed: Count = 0
    """Requests that another model would answer, or that are refused under one of the two only."""
    refused: Count = 0
    """Requests that would be refused."""
    newly_refused: Count = 0
    """Of these, those that the published rules would not refuse."""
    cost_before_usd: Usd | None = None
    """List prices times recorded tokens, of the requests with a known cost on both sides; null without any."""
    cost_after_usd: Usd | None = None
    unpriced: Count = 0
    """Requests whose cost is unknown on one of the sides."""
    latency_before_ms: Count | None = None
    """The average over the requests of the median latency of their models; null where no median is known."""
    latency_after_ms: Count | None = None
    moves: list[ModelMove] = Field(default_factory=list)
    """The most frequent first."""
    matches: list[RuleMatches] = Field(default_factory=list)
    """For every rule, in order."""
    examples: list[DryRunExample] = Field(default_factory=list)
    findings: list[RuleFinding] = Field(default_factory=list)
