"""The request log: requests with their attempts, newest first, found by what is recorded of them. Pure."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import EndpointName, KeyId, Operation, ProviderName, Reference, Tags, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Cleaned, Count, Identifier, Line, Moment, Ordinal, Refusing, Reported
from keyferry.contracts.usage import (
    KeySource,
    LedgerRow,
    Outcome,
    RecordedAmounts,
    RequestKind,
    TokenUsage,
    UsageSource,
)

MAX_PAGE = 200
"""Requests in one answer: each may have many tags and attempts."""
MAX_COUNTED = 10_000
"""Matching requests are counted up to here."""
SHORTEST_ID = 8
"""Characters of an id, of which a search needs at least so many."""

IdPrefix = Annotated[str, Refusing(200, SHORTEST_ID, pattern=r"^[\x21-\x7e]+$", form="an id, or its beginning")]
SearchText = Annotated[str, Refusing(200, visible=True)]
Cursor = Annotated[str, Refusing(400, pattern=r"^[A-Za-z0-9_-]+$", form="the `next` of the page before")]
TagValue = Annotated[str, Refusing(256, min_characters=0, no_key=True)]
ShownError = Annotated[str, Cleaned(500)]
"""The beginning of a failure's message."""


class RequestOutcome(StrEnum):
    """How a request ended: as its last attempt did, or refused if there was none."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INDETERMINATE = "indeterminate"
    REFUSED = "refused"


class RequestFilter(Command):
    """Which requests of a tenant: those with an attempt that satisfies everything given. Null fields do not filter.

    With `outcome` that attempt is the last one. Of a request only the attempts are meant that began in the span of time, so
    that spans that follow on each other add up. A refused request has no attempt and no provider, key, cost or latency.
    """

    tenant: TenantId
    since: Moment | None = None
    """Inclusive; UTC without a zone."""
    until: Moment | None = None
    """Exclusive; UTC without a zone."""
    outcome: RequestOutcome | None = None
    error_class: FailureClass | None = None
    provider: ProviderName | None = None
    """A provider, or the name of the tenant's own server."""
    model: Line | None = None
    """The model that was asked for, called or served."""
    operation: Operation | None = None
    level: PowerLevel | None = None
    key_source: KeySource | None = None
    key_id: KeyId | None = None
    client_token_id: Identifier | None = None
    team: Reference | None = None
    member: Reference | None = None
    tag_name: Operation | None = None
    tag_value: TagValue | None = None
    """The value of the tag `tag_name`; null for any."""
    min_cost_usd: Annotated[Usd, Field(ge=0)] | None = None
    """Of one attempt."""
    min_latency_ms: Count | None = None
    """Of one attempt."""
    id: IdPrefix | None = None
    """The id of a request, an attempt, a decision or a trace, or its beginning."""
    text: SearchText | None = None
    """Whole words of the failure's message, in any order and case."""

    @model_validator(mode="after")
    def _check_search(self) -> "RequestFilter":
        if self.tag_value is not None and self.tag_name is None:
            raise PydanticCustomError("tag", "a value of a tag needs the name of the tag")
        if self.text is not None and not any(character.isalnum() for character in self.text):
            raise PydanticCustomError("text", "a text to look for needs a letter or a digit")
        return self


class ListRequests(RequestFilter):
    """Request a page of the request log."""

    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    after: Cursor | None = None
    """The `next` of the page before, with the same filter."""
    count: bool = False
    """Whether to count the requests as well, up to 10 000."""
    settled: bool = False
    """Leave out what was recorded in the last seconds, so that the set can change no more: for an export."""


class LoggedAttempt(Message):
    """An attempt of a request in the log."""

    attempt_id: Identifier
    attempt_number: Ordinal
    decision_id: Identifier
    provider: ProviderName
    endpoint: EndpointName | None = None
    model: Line
    model_served: Reported | None = None
    power_level: PowerLevel | None = None
    charged_level: PowerLevel | None = None
    key_source: KeySource
    key_id: KeyId | None = None
    outcome: Outcome
    error_class: FailureClass | None = None
    error: ShownError | None = None
    finish_reason: Reported | None = None
    token_usage: TokenUsage = TokenUsage()
    usage_source: UsageSource
    pricing: Literal["priced", "unpriced", "free"]
    cost_usd: Usd | None = None
    price_version: Line | None = None
    charge_micro_usd: Count | None = None
    absorbed_micro_usd: Count = 0
    spend_micro_usd: Count | None = None
    plan_version: Line | None = None
    before_rerating: RecordedAmounts | None = None
    """What was recorded; null unless the attempt was re-rated."""
    started_at: Moment
    latency_ms: Count
    first_token_ms: Count | None = None
    recorded_at: Moment


class LoggedRequest(Message):
    """A request with its attempts in the span of time, in order; none if it was refused."""

    request_id: Identifier
    started_at: Moment
    """When its first attempt began, or when it was refused."""
    outcome: RequestOutcome
    error_class: FailureClass | None = None
    error: ShownError | None = None
    decision_id: Identifier
    """The decision that refused it, or that started its last attempt."""
    kind: RequestKind
    stream: bool
    model_asked: Line
    model_served: Reported | None = None
    """The model of the last attempt, as the provider names it."""
    provider: ProviderName | None = None
    """Of the last attempt."""
    endpoint: EndpointName | None = None
    key_source: KeySource | None = None
    """Of the last attempt."""
    operation: Operation | None = None
    power_level: PowerLevel | None = None
    team: Reference | None = None
    member: Reference | None = None
    client_token_id: Identifier | None = None
    tags: Tags = Field(default_factory=dict)
    trace_id: Identifier | None = None
    tokens: Count = 0
    """Of all its attempts."""
    cost_usd: Usd | None = None
    """The sum of the known costs; null if no cost is known."""
    unpriced: Count = 0
    """Attempts whose cost is unknown; they are not in `cost_usd`."""
    charge_micro_usd: Count | None = None
    """What credits paid for its attempts; null if nothing was charged."""
    latency_ms: Count | None = None
    """From the beginning of the first attempt to the end of the last."""
    first_token_ms: Count | None = None
    """From the beginning of the first attempt to the first token of the last."""
    attempts: list[LoggedAttempt] = Field(default_factory=list)


class RequestCount(Message):
    """How many requests match: `count`, or more than that."""

    count: Count
    more: bool = False
    """Whether there are more than were counted."""


class RequestPage(Message):
    """A page of the request log. It can be short although `next` is set: looking for rare requests ends after a while."""

    requests: list[LoggedRequest]
    next: Cursor | None = None
    """What to pass as `after` for the following page; null on the last."""
    as_of: Moment
    """The pages that follow have only what was recorded until then."""
    tz: Literal["UTC"] = "UTC"
    total: RequestCount | None = None
    """Only if it was asked for."""


class ShowRequest(Command):
    """Request everything that is recorded of one request."""

    tenant: TenantId
    request_id: Identifier


class CostLine(Message):
    """Tokens of one kind, times their rate."""

    kind: Identifier
    tokens: Count
    usd_per_million: Usd
    cost_usd: Usd


class CostArithmetic(Message):
    """How cost and charge of an attempt come about: tokens times rate is the cost; times multiplier and markup the charge."""

    attempt_id: Identifier
    pricing: Literal["priced", "unpriced", "free"]
    lines: list[CostLine] = Field(default_factory=list)
    """Empty if the rates of the price version are not known any more."""
    per_request_usd: Usd | None = None
    """The fee per call; null where there is none."""
    price_version: Line | None = None
    cost_usd: Usd | None = None
    """The sum of the lines and the fee."""
    tier: Tier | None = None
    charged_level: PowerLevel | None = None
    multiplier: Usd | None = None
    """Of the level; null unless the charge was computed by the plan that is in force, on the platform's key."""
    markup_percent: Usd | None = None
    """Of the tier."""
    factor: Usd | None = None
    """By both: the cost times this is the full charge, of which the credits pay no more than was held."""
    fee_micro_usd: Count | None = None
    """For a call with an own key, in place of the factor."""
    plan_version: Line | None = None
    charge_micro_usd: Count | None = None
    absorbed_micro_usd: Count = 0
    spend_micro_usd: Count | None = None


class ShownRequest(Message):
    """A request with everything that is recorded of it."""

    request: LoggedRequest | None = None
    """Null while nothing has arrived but decisions of which none refused it."""
    decisions: list[DecisionRecord] = Field(default_factory=list)
    attempts: list[LedgerRow] = Field(default_factory=list)
    arithmetic: list[CostArithmetic] = Field(default_factory=list)
    """One for each attempt, in the same order."""
