"""Routing rules: the document that a team keeps, and the messages that save, check, publish and restore it.

A rule set is an ordered list; the first rule whose conditions all hold decides which models a request is planned with. Unknown
fields are refused everywhere, because a condition that is skipped would widen its rule. Pure.
"""

from enum import StrEnum
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import NAME_PATTERN, Actor, ChosenModel, Operation, ProviderName, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Cleaned, Count, Explanation, Identifier, Line, Moment, Ordinal, Refusing
from keyferry.contracts.usage import RequestKind

MAX_RULES = 200
MAX_STEPS = 10
MAX_SHARES = 10
MAX_VALUES = 50
"""Most values of one condition."""
MAX_WEIGHT = 1_000_000
MAX_DOCUMENT_BYTES = 256 * 1024
"""Of a whole rule set as JSON."""
MAX_DRY_RUN = 1000
"""Most past requests of one dry run."""
ANY_SUFFIX = "*"
"""At the end of a model's name in a condition: every name that begins so."""

T = TypeVar("T")


def _as_list(value: object) -> object:
    """Take a single value for a list of one, as people write it."""
    return [value] if isinstance(value, str) else value


def _check_tag(text: str) -> str:
    name, _, _ = text.partition("=")
    if not name or len(name) > 64 or not all(c.isascii() and (c.isalnum() or c in "_.-") for c in name):
        raise PydanticCustomError("text", "Input should be NAME or NAME=VALUE, where a name has A-Z a-z 0-9 _ . and -")
    return text


def _check_pattern(text: str) -> str:
    if ANY_SUFFIX in text[:-1]:
        raise PydanticCustomError(
            "text", "Input should be a model's name, or the beginning of one and a single * after it"
        )
    if text == ANY_SUFFIX:
        raise PydanticCustomError("text", "Input should name models: leave the condition out to match every model")
    return text


def _check_weight(value: object) -> object:
    if value == 0 and not isinstance(value, bool):
        raise PydanticCustomError("weight", "Input should be at least 1: leave a model out that shall get no requests")
    return value


RuleName = Annotated[
    str, Refusing(63, pattern=NAME_PATTERN, form="a-z 0-9 and -, with a letter or digit at both ends", no_key=True)
]
TagCondition = Annotated[str, Refusing(321, no_key=True), AfterValidator(_check_tag)]
"""A tag's name, or name and value: `beta`, `team=search`."""
ModelPattern = Annotated[ChosenModel, AfterValidator(_check_pattern)]
"""A model's name as a caller writes it, or the beginning of names: `gpt-5`, `claude-*`."""
Team = Annotated[str, Refusing(200, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces", no_key=True)]
Description = Annotated[str, Refusing(500, min_characters=0, no_key=True)]
Note = Annotated[str, Refusing(500, min_characters=0, no_key=True)]
"""Why a version was published."""
Weight = Annotated[int, Strict(), Field(ge=1, le=MAX_WEIGHT), BeforeValidator(_check_weight)]
_Values = Field(min_length=1, max_length=MAX_VALUES)
AnyOf = Annotated[list[T], _Values, BeforeValidator(_as_list)]
"""One of these values; a single value may stand without a list."""


class RulePart(Message):
    """A part of the document. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, use_attribute_docstrings=True)


class RuleConditions(RulePart):
    """When a rule applies: every condition that is given must hold, and each holds for any of its values."""

    operation: AnyOf[Operation] | None = None
    tag: AnyOf[TagCondition] | None = None
    """`NAME` for a tag with any value, `NAME=VALUE` for one value."""
    model: AnyOf[ModelPattern] | None = None
    """The model that the request names, exactly or by `PREFIX*`."""
    power_level: AnyOf[PowerLevel] | None = None
    """The level that the request asks for, in a header or as its model."""
    kind: AnyOf[RequestKind] | None = None
    team: AnyOf[Team] | None = None
    """The team of the client token."""
    tenant: AnyOf[TenantId] | None = None
    """Only in the platform's rule set."""
    tier: AnyOf[Tier] | None = None
    """Only in the platform's rule set."""


class SplitShare(RulePart):
    """One of the models that share a step."""

    model: ChosenModel
    provider: ProviderName | None = None
    weight: Weight
    """Its part of the requests: its weight divided by the sum of the step's weights."""


class ChainStep(RulePart):
    """One step of a chain: a model, a power level that chooses one, or several models that share the requests."""

    model: ChosenModel | None = None
    """A model that the tenant can call, or `eco`, `balanced`, `precision`, `auto` or `default`."""
    provider: ProviderName | None = None
    """Only at this provider, or at the tenant's own server of this name."""
    power_level: PowerLevel | None = None
    split: Annotated[list[SplitShare], Field(min_length=2, max_length=MAX_SHARES)] | None = None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        given = [name for name in ("model", "power_level", "split") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError("chain_step", "Input should have exactly one of model, power_level and split")
        if self.provider is not None and self.model is None:
            raise PydanticCustomError("chain_step", "Input should name a provider only beside a model")
        return self


class Rule(RulePart):
    """Conditions, and the models that requests which meet them are planned with."""

    name: RuleName
    description: Description = ""
    enabled: StrictBool = True
    when: RuleConditions = RuleConditions()
    chain: Annotated[list[ChainStep], Field(min_length=1, max_length=MAX_STEPS)]
    """In this order: a step is tried when those before it have no usable candidate or have failed."""
    fallback: StrictBool = True
    """Whether the tenant's fallback models follow after the chain."""
    default: StrictBool = False
    """Marks the last rule as the one for all requests that no other matches."""


class RuleSet(RulePart):
    """Rules in the order in which they are checked; the first that matches decides."""

    rules: Annotated[list[Rule], Field(max_length=MAX_RULES)]


class AppliedStep(Message):
    """The part of a rule that a planned model comes from."""

    step: Ordinal
    """Counted from 1."""
    model: Line
    weight: Ordinal | None = None
    """The model's weight in a split."""
    total_weight: Ordinal | None = None


class AppliedRule(Message):
    """The rule that decided about a request."""

    owner: TenantId
    """Whose rule set it is of: the tenant's own, or the platform's."""
    version: Ordinal
    rule: RuleName
    steps: list[AppliedStep] = Field(default_factory=list)
    """Where the planned models come from, in their order."""


class FindingCode(StrEnum):
    """What is wrong with a rule set. A closed set, so that every finding says what to do."""

    TOO_LARGE = "too_large"
    DUPLICATE_NAME = "duplicate_name"
    PLATFORM_CONDITION = "platform_condition"
    """A condition on tenants or tiers outside the platform's rule set."""
    MATCHES_EVERYTHING = "matches_everything"
    MATCHES_NOTHING = "matches_nothing"
    NOT_LAST = "not_last"
    """A default rule that is not the last, or that has conditions."""
    LOOP = "loop"
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_OPERATION = "unknown_operation"
    NO_CALLABLE_MODEL = "no_callable_model"
    """Requests that a rule matches would be refused."""
    OPERATION_WITHOUT_MODEL = "operation_without_model"
    """Requests of an operation are answered today, and would be refused."""
    NOT_CHECKED = "not_checked"
    """Facts that a check needs are not available now."""
    TIER = "tier"
    """The tenant's tier does not include rules."""


class RuleFinding(Message):
    """One fault or warning. A rule set with faults cannot be published."""

    code: FindingCode
    fault: bool
    """Whether it prevents publishing."""
    rule: RuleName | None = None
    detail: Explanation
    """What is wrong and what to do."""


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
    revision: Ordinal


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
    limit: int = Field(default=50, ge=1, le=1000)


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
