"""Routing rules: the document that a team keeps, and what can be wrong with it.

A rule set is an ordered list; the first rule whose conditions all hold decides which models a request is planned with. Unknown
fields are refused everywhere, because a condition that is skipped would widen its rule. Pure.
"""

from enum import StrEnum
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Message
from keyferry.contracts.fallback import UseCase
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import NAME_PATTERN, ChosenModel, Operation, ProviderName, TenantId
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Explanation, Line, Ordinal, Refusing
from keyferry.contracts.usage import RequestKind

MAX_RULES = 200
MAX_STEPS = 10
MAX_SHARES = 10
MAX_VALUES = 50
"""Most values of one condition."""
MAX_WEIGHT = 1_000_000
MAX_DOCUMENT_BYTES = 128 * 1024
"""Of a whole rule set as JSON."""
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
    """One step of a chain: a model, a power level that chooses one, a chain by use case, or models that share the requests."""

    model: ChosenModel | None = None
    """A model that the tenant can call, or `eco`, `balanced`, `precision`, `auto` or `default`."""
    provider: ProviderName | None = None
    """Only at this provider, or at the tenant's own server of this name."""
    power_level: PowerLevel | None = None
    chain: UseCase | None = None
    """A reviewed chain of models by use case, such as `code`."""
    split: Annotated[list[SplitShare], Field(min_length=2, max_length=MAX_SHARES)] | None = None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        given = [name for name in ("model", "power_level", "chain", "split") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "chain_step", "Input should have exactly one of model, power_level, chain and split"
            )
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
    OTHER_EMBEDDINGS = "other_embeddings"
    """Embeddings would be made by another model than today."""
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
