"""Token usage, attempt records and the ledger's messages. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from keyferry.contracts.envelope import Command, Head, Message
from keyferry.contracts.failure import Failure
from keyferry.contracts.ids import TenantId
from keyferry.contracts.money import Usd


class TokenUsage(Message):
    """Tokens of one attempt, each counted once: the counts are disjoint and add up to the provider's total.

    `input` are prompt tokens neither read from nor written to a cache and neither audio nor image; `output` are completion
    tokens that are neither reasoning nor audio nor image. `cache_write` are writes with the provider's shortest
    lifetime (Anthropic: 5 minutes), `cache_write_1h` those kept for an hour. `audio` and `image` are of the prompt,
    `audio_output` and `image_output` of the completion. Providers overlap these counts in different ways; adapters separate them.
    """

    input: int = Field(default=0, ge=0)
    cached_read: int = Field(default=0, ge=0)
    cache_write: int = Field(default=0, ge=0)
    cache_write_1h: int = Field(default=0, ge=0)
    output: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)
    audio: int = Field(default=0, ge=0)
    image: int = Field(default=0, ge=0)
    audio_output: int = Field(default=0, ge=0)
    image_output: int = Field(default=0, ge=0)

    @property
    def prompt(self) -> int:
        """All tokens of the prompt, as OpenAI counts `prompt_tokens`."""
        return self.input + self.cached_read + self.cache_write + self.cache_write_1h + self.audio + self.image

    @property
    def completion(self) -> int:
        """All tokens of the completion, as OpenAI counts `completion_tokens`."""
        return self.output + self.reasoning + self.audio_output + self.image_output

    @property
    def total(self) -> int:
        """The sum of all counts, in tokens."""
        return self.prompt + self.completion


class UsageSource(StrEnum):
    """The source of the token counts."""

    REPORTED = "reported"
    ESTIMATED = "estimated"
    NONE = "none"
    """Nothing was used, or it is unknown."""


class Outcome(StrEnum):
    """The terminal state of an attempt, on the wire and in the ledger."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INDETERMINATE = "indeterminate"


class RequestKind(StrEnum):
    """The kind of a request."""

    CHAT = "chat"
    EMBEDDING = "embedding"


class KeySource(StrEnum):
    """The owner of the key that an attempt used."""

    PLATFORM = "platform"
    BYOK = "byok"
    CUSTOM = "custom"
    NONE = "none"
    """No key, as with the built-in echo provider."""


class AttemptRecord(Message):
    """One finished attempt, the unit of accounting; failed, timed-out and cancelled ones included."""

    attempt_id: str
    request_id: str
    kind: RequestKind = RequestKind.CHAT
    decision_id: str
    attempt_number: int = Field(ge=1)
    tenant: TenantId
    client_token_id: str | None = None
    provider: str
    endpoint: str | None = None
    origin: str | None = None
    """The `scheme://host:port` that was called; null for built-in providers."""
    model_asked: str
    model: str
    """The model name sent upstream."""
    model_served: str | None = None
    operation: str | None = None
    key_source: KeySource
    key_id: str | None = None
    stream: bool
    outcome: Outcome
    failure: Failure | None = None
    finish_reason: str | None = None
    service_tier: str | None = None
    """The processing tier that the provider reports, where its prices depend on it."""
    token_usage: TokenUsage = TokenUsage()
    usage_source: UsageSource = UsageSource.NONE
    reported_cost_usd: Usd | None = None
    """The cost that the provider reports, kept beside the computed one."""
    started_at: datetime
    latency_ms: int = Field(ge=0)
    first_token_ms: int | None = Field(default=None, ge=0)
    tags: dict[str, str] = Field(default_factory=dict)
    traceparent: str | None = None
    worker_id: str
    spool_seq: int = Field(ge=1)


class BatchHead(Head):
    """The head of a batch: `count` records follow, one JSON line each, so that an invalid one can be set aside alone."""

    producer: str
    """The worker or router that produced the records."""
    spool_id: str | None = None
    """The incarnation of the producer's spool to which the sequence numbers belong."""
    count: int = Field(ge=1)


class AttemptsConfirmed(Message):
    """The ledger has committed these records; the worker may drop them."""

    worker_id: str
    spool_id: str
    spool_seqs: list[int]


class SummarizeUsage(Command):
    """Request the usage of a tenant. `since` is inclusive, `until` exclusive, both UTC; null means no limit."""

    tenant: TenantId
    since: datetime | None = None
    until: datetime | None = None


class UsageRow(Message):
    """Usage of one provider and model."""

    provider: str
    model: str
    attempts: int
    completed: int
    failed: int
    cancelled: int
    indeterminate: int
    token_usage: TokenUsage
    priced_cost_usd: Usd | None = None
    """The sum of the known costs; null if no cost is known."""
    unpriced: int
    """Attempts whose cost is unknown; they are not in `priced_cost_usd`."""


class UsageSummary(Message):
    """Totals, and the rows that add up to them."""

    tenant: TenantId
    requests: int
    attempts: int
    priced_cost_usd: Usd | None = None
    """The sum of the known costs, 0 if nothing was used; null if attempts were made and no cost is known."""
    unpriced: int
    """Attempts whose cost is unknown; they are not in `priced_cost_usd`."""
    rows: list[UsageRow]


class GetAttempts(Command):
    """Request the attempts of one request, in order."""

    tenant: TenantId
    request_id: str


class LedgerRow(Message):
    """An attempt as the ledger stores it: the record, its cost and the price version."""

    record: AttemptRecord
    cost_usd: Usd | None = None
    price_version: str | None = None
    pricing: Literal["priced", "unpriced", "free"]
    trace_id: str | None = None
    recorded_at: datetime


class Attempts(Message):
    """The attempts of one request."""

    rows: list[LedgerRow]
