"""Token usage, attempt records and the ledger's messages. Pure."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from keyferry.contracts.credit import Reservation
from keyferry.contracts.envelope import Command, Head, Message
from keyferry.contracts.failure import Failure
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import Actor, EndpointName, KeyId, Operation, ProviderName, Reference, Tags, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment, Ordinal, Reported, Trace, Url


class TokenUsage(Message):
    """Tokens of one attempt, each counted once: the counts are disjoint and add up to the provider's total.

    `input` are prompt tokens neither read from nor written to a cache and neither audio nor image; `output` are completion
    tokens that are neither reasoning nor audio nor image. `cache_write` are writes with the provider's shortest
    lifetime (Anthropic: 5 minutes), `cache_write_1h` those kept for an hour. `audio` and `image` are of the prompt,
    `audio_output` and `image_output` of the completion. Providers overlap these counts in different ways; adapters separate them.
    """

    input: Count = 0
    cached_read: Count = 0
    cache_write: Count = 0
    cache_write_1h: Count = 0
    output: Count = 0
    reasoning: Count = 0
    audio: Count = 0
    image: Count = 0
    audio_output: Count = 0
    image_output: Count = 0

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
    """By the worker, where the provider reported nothing, or something that cannot be right."""
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


class KeyRate(Message):
    """What a provider reported of a key's rate limits: the limit of which the most is used."""

    used_percent: Annotated[int, Field(ge=0, le=100)]
    reset_ms: Count
    """Milliseconds from the response until it is whole again; 0 if that is unknown."""


class AttemptRecord(Message):
    """One finished attempt, the unit of accounting; failed, timed-out and cancelled ones included."""

    attempt_id: Identifier
    request_id: Identifier
    kind: RequestKind = RequestKind.CHAT
    decision_id: Identifier
    attempt_number: Ordinal
    tenant: TenantId
    client_token_id: Identifier | None = None
    provider: ProviderName
    endpoint: EndpointName | None = None
    origin: Url | None = None
    """The `scheme://host:port` that was called; null for built-in providers."""
    model_asked: Line
    model: Line
    """The model name sent upstream."""
    catalog_id: Line | None = None
    """The catalog's id of the model, where that is another name; for the spending of budgets."""
    model_served: Reported | None = None
    operation: Operation | None = None
    power_level: PowerLevel | None = None
    """The level that the choice of the model was made with."""
    team: Reference | None = None
    member: Reference | None = None
    key_source: KeySource
    key_id: KeyId | None = None
    tier: Tier | None = None
    """The tenant's tier when the attempt was planned: its markup applies."""
    charged_level: PowerLevel | None = None
    """The level whose multiplier applies."""
    reservation: Reservation | None = None
    """What the attempt may spend of accounts that can run out; null if it counts against none."""
    stream: bool
    outcome: Outcome
    failure: Failure | None = None
    finish_reason: Reported | None = None
    service_tier: Reported | None = None
    """The processing tier that the provider reports, where its prices depend on it."""
    key_rate: KeyRate | None = None
    """What the response reported of the rate limits of the key; for the health monitor, and not stored."""
    token_usage: TokenUsage = TokenUsage()
    usage_source: UsageSource = UsageSource.NONE
    usage_note: Line | None = None
    """Why the token usage is an estimate although the provider reported some."""
    reported_cost_usd: Usd | None = None
    """The cost that the provider reports, kept beside the computed one."""
    started_at: Moment
    latency_ms: Count
    first_token_ms: Count | None = None
    tags: Tags = Field(default_factory=dict)
    traceparent: Trace | None = None
    worker_id: Identifier
    spool_seq: Ordinal
    unkept: list[Identifier] = Field(default_factory=list)
    """Fields whose values no record can hold: they were cut, replaced or left out, and the rest was recorded."""


class BatchHead(Head):
    """The head of a batch: `count` records follow, one JSON line each, so that an invalid one can be set aside alone.

    A batch without records says only how far its producer has come.
    """

    producer: Identifier
    """The worker or router that produced the records."""
    spool_id: Identifier | None = None
    """The incarnation of the producer's spool to which the sequence numbers belong."""
    count: Count
    settled_until_unix_ms: Count | None = None
    """The worker's watermark: no attempt whose reservation ended before this moment is without a stored record, and none will be
    begun. Only attempts in earlier messages count as stored."""


class AttemptsConfirmed(Message):
    """The ledger has committed these records; the worker may drop them."""

    worker_id: Identifier
    spool_id: Identifier
    spool_seqs: list[Ordinal]


class SummarizeUsage(Command):
    """Request the usage of a tenant. `since` is inclusive, `until` exclusive, both UTC; null means no limit."""

    tenant: TenantId
    since: Moment | None = None
    until: Moment | None = None


class UsageRow(Message):
    """Usage of one provider and model, and of one server if it has a name."""

    provider: ProviderName
    endpoint: EndpointName | None = None
    """The name of the tenant's own server, where it has one."""
    model: Line
    attempts: Count
    completed: Count
    failed: Count
    cancelled: Count
    indeterminate: Count
    token_usage: TokenUsage
    priced_cost_usd: Usd | None = None
    """The sum of the known costs; null if no cost is known."""
    unpriced: Count
    """Attempts whose cost is unknown; they are not in `priced_cost_usd`."""


class UsageSummary(Message):
    """Totals, and the rows that add up to them."""

    tenant: TenantId
    requests: Count
    attempts: Count
    priced_cost_usd: Usd | None = None
    """The sum of the known costs, 0 if nothing was used; null if attempts were made and no cost is known."""
    unpriced: Count
    """Attempts whose cost is unknown; they are not in `priced_cost_usd`."""
    rows: list[UsageRow]


class GetAttempts(Command):
    """Request the attempts of one request, in order."""

    tenant: TenantId
    request_id: Identifier


class RecordedAmounts(Message):
    """What was recorded of an attempt that a re-rating has corrected since."""

    rerate_id: Identifier
    """The last re-rating that corrected it."""
    cost_usd: Usd | None = None
    price_version: Line | None = None
    pricing: Literal["priced", "unpriced", "free"]
    charge_micro_usd: Count | None = None
    absorbed_micro_usd: Count = 0
    spend_micro_usd: Count | None = None
    plan_version: Line | None = None


class LedgerRow(Message):
    """An attempt in the ledger: the record, its cost and the price version, as they are after re-ratings."""

    record: AttemptRecord
    cost_usd: Usd | None = None
    price_version: Line | None = None
    pricing: Literal["priced", "unpriced", "free"]
    charge_micro_usd: Count | None = None
    """What the tenant's credits paid, in micro-dollars; null if nothing was charged or the charge is unknown."""
    absorbed_micro_usd: Count = 0
    """What the charge would have been beyond its hold: the platform bears it."""
    spend_micro_usd: Count | None = None
    """What it counts in budgets: the charge on the platform's keys, the provider's cost and a fee on the tenant's own."""
    plan_version: Line | None = None
    """The billing plan that the charge was computed by."""
    before_rerating: RecordedAmounts | None = None
    """What was recorded; null unless the attempt was re-rated."""
    trace_id: Identifier | None = None
    recorded_at: Moment


class Attempts(Message):
    """The attempts of one request."""

    rows: list[LedgerRow]


class ListDeadLetters(Command):
    """Request the dead letters, oldest first."""

    after: Count = 0
    """Only those with a greater number."""


class DeadLetterEntry(Message):
    """One dead letter."""

    number: Ordinal
    at: Moment
    producer: Identifier
    """The worker, router or service that sent the original."""
    stream: Identifier
    """The stream that the original came through."""
    reason: Explanation
    size_bytes: Count
    """Of the original."""
    original: Explanation
    """The beginning of the original as text."""


class DeadLetters(Message):
    """A page of dead letters."""

    total: Count
    """How many there are in all."""
    entries: list[DeadLetterEntry]


class DiscardDeadLetters(Command):
    """Remove the dead letters up to a number, or only that one, once they have been dealt with."""

    up_to: Ordinal
    only: bool = False
    """Only this one, and none before it."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class Discarded(Message):
    """How many dead letters were removed, and how many are left."""

    discarded: Count
    left: Count
