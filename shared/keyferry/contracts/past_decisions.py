"""Past requests as the ledger knows them, for planning them again. Pure."""

from pydantic import Field

from keyferry.contracts.chat import OwnKeys
from keyferry.contracts.envelope import Message
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.ids import EndpointName, Operation, ProviderName, Tags, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.text import Count, Identifier, Line, Moment
from keyferry.contracts.usage import KeySource, Outcome, RequestKind, TokenUsage

MAX_PAGE = 200
"""Requests in one answer: each may have many tags and attempts."""


class ListDecisions(Message):
    """Request past decisions, newest first: the first one about each request. `since` is inclusive, `until` exclusive."""

    tenant: TenantId | None = None
    """Null for all tenants."""
    since: Moment | None = None
    until: Moment | None = None
    after: Identifier | None = None
    """The `next` of the page before."""
    limit: int = Field(default=MAX_PAGE, ge=1, le=MAX_PAGE)


class PastAttempt(Message):
    """One attempt of a past request, with what it used and cost."""

    provider: ProviderName
    endpoint: EndpointName | None = None
    model: Line
    key_source: KeySource
    outcome: Outcome
    token_usage: TokenUsage
    cost_usd: Usd | None = None
    latency_ms: Count


class PastDecision(Message):
    """The facts that a request was planned with, and its attempts."""

    decision_id: Identifier
    request_id: Identifier
    tenant: TenantId
    decided_at: Moment
    client_token_id: Identifier | None = None
    kind: RequestKind = RequestKind.CHAT
    model_asked: Line
    operation: Operation | None = None
    tags: Tags = Field(default_factory=dict)
    team: Identifier | None = None
    member: Identifier | None = None
    asked_level: PowerLevel | None = None
    """The level that the request asked for besides its model, whatever was applied."""
    features: RequestFeatures | None = None
    prefer_own_keys: OwnKeys | None = None
    conversation: Identifier | None = None
    refused: bool = False
    attempts: list[PastAttempt] = Field(default_factory=list)


class PastDecisions(Message):
    """A page of past decisions."""

    decisions: list[PastDecision]
    next: Identifier | None = None
    """What to pass as `after` for the following page; null on the last."""
