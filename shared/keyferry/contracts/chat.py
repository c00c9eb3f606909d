"""Messages of a request: the request itself, its attempts, and control of an attempt."""

from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, Strict

from keyferry.contracts.credit import AllowanceUse, Reservation
from keyferry.contracts.envelope import Head, Message
from keyferry.contracts.failure import Failure
from keyferry.contracts.fallback import DEFAULT_FALLBACK_POLICY, FallbackPolicy, FallbackReason
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.ids import EndpointName, KeyFields, KeyId, Operation, ProviderName, Reference, Tags, TenantId
from keyferry.contracts.limits import Admission, Limits, RateLimits
from keyferry.contracts.residency import Residency
from keyferry.contracts.route import DecisionSummary
from keyferry.contracts.tenancy import DEFAULT_CONTENT_DAYS, ContentDays, ContentPolicy, Tier
from keyferry.contracts.text import Count, Identifier, Line, Ordinal, RequestedModel, Trace, Url
from keyferry.contracts.usage import KeySource, RequestKind

DEFAULT_CREDIT_BYTES = 256 * 1024
"""Payload that a worker may send before the caller grants more, unless the request says otherwise."""
START_WITHIN_MS = 1000
"""A provider call has to begin within this time after a small request was sent or rerouted; `start_by_unix_ms` is that moment."""
_BODY_BYTES_PER_MS = 2048


def start_within_ms(body_bytes: int) -> int:
    """Return the time within which a provider call has to begin after a request with such a body was sent or rerouted.

    A large body has more time, half a second for each MiB: three processes read it one after the other.
    """
    return START_WITHIN_MS + body_bytes // _BODY_BYTES_PER_MS


OwnKeys = Literal["first", "last", "only"]
"""Where a request wants the tenant's own keys: before the platform's, after them, or exclusively."""

Derived = TypeVar("Derived", bound="RequestHead")


class RequestHead(Head):
    """The fields of a request that both hops need.

    `deadline_ms` is what remains of the caller's deadline when the message is sent. `start_by_unix_ms` is a point in time,
    because it has to hold even if a process is frozen with the message in its socket: no worker calls a provider after it, so
    a caller may send the request again shortly after it and is never charged twice.
    """

    request_id: Identifier
    kind: RequestKind = RequestKind.CHAT
    tenant: TenantId
    client_token_id: Identifier | None = None
    model: Line
    stream: bool
    include_usage: bool = False
    """Whether the caller asked for the usage chunk of a stream."""
    operation: Operation | None = None
    tags: Tags = Field(default_factory=dict)
    deadline_ms: Count
    start_by_unix_ms: Count
    confirm_start: bool = False
    """Whether a worker may call a provider only once the caller has confirmed its acceptance (`ControlKind.START`)."""
    credit_bytes: Ordinal = DEFAULT_CREDIT_BYTES
    """Payload bytes that each attempt may send before the caller grants more: end-to-end flow control."""
    allowed_models: list[Line] | None = None
    """Models that the caller's client token may use; null allows all."""
    team: Reference | None = None
    """The team that the caller's client token belongs to."""
    member: Reference | None = None
    """The member that the caller's client token belongs to."""
    power_level: PowerLevel | None = None
    """The level that the request asks for; null leaves it to the preferences."""
    features: RequestFeatures | None = None
    """What the body needs of a model; null if the sender did not look."""
    conversation: Reference | None = None
    """Requests of one conversation get the same share of a weighted rule; null makes each request its own."""
    explain: bool = False
    """Whether the answer shall carry the decision as an object `keyferry`."""
    token_limits: Limits | None = None
    """Limits of the caller's client token, which apply besides the tenant's."""
    prefer_own_keys: OwnKeys | None = None
    """The caller's preference for whose key pays. It narrows or reorders what the tenant's policy allows, and never widens it."""
    traceparent: Trace | None = None
    grant: Line | None = None
    """The signature (`keyferry.sealing.grant`) of the process that took the request in: the vault releases no key without it."""

    def derive(self, kind: type[Derived], **changes: Any) -> Derived:
        """Return a message of another kind about the same request: every field of RequestHead, except for `changes`.

        Raises TypeError for a change that is no field of `kind`.
        """
        if unknown := changes.keys() - _fields(kind):
            raise TypeError(f"{kind.__name__} has no field {min(unknown)}")
        return kind(**{name: getattr(self, name) for name in _fields(RequestHead)} | changes)


@cache
def _fields(kind: type[RequestHead]) -> frozenset[str]:
    return frozenset(kind.model_fields)


class FailedAttempt(Message):
    """An attempt of this request that failed before anything was delivered."""

    attempt_id: Identifier
    provider: ProviderName
    endpoint: EndpointName | None = None
    model: Line
    key_id: KeyId | None = None
    """The provider key that was used, if any."""
    key_source: KeySource | None = None
    origin: Url | None = None
    """What answered, as `scheme://host[:port]`; null if nothing did."""
    chosen_model: Line | None = None
    """The name under which the plan chose the model, where that is not the request's."""
    failure: Failure
    no_key: bool = False
    """Whether its key could not be leased, so that nothing was sent."""
    failed_at_unix_ms: Count | None = None
    """When it failed, on the worker's clock: a requested pause counts from here."""
    delay_ms: Count = 0
    """How long it had waited before its provider was called."""
    refused: bool = False
    """Whether a worker refused it, so that nothing was called and nothing is recorded of it."""


class ChatRequest(RequestHead):
    """Head of `chat.request`; the body is the caller's OpenAI-shaped JSON, byte for byte."""

    model: RequestedModel


class EmbeddingRequest(RequestHead):
    """Head of `embedding.request`; the body is the caller's OpenAI-shaped JSON, byte for byte. Never streamed."""

    model: RequestedModel
    kind: RequestKind = RequestKind.EMBEDDING
    stream: bool = False


class Reroute(RequestHead):
    """Head of `request.reroute`: plan again without the failed candidates. `model` is the caller's name for it; same body."""

    decision_id: Identifier
    """The decision that chose the first attempt; it links all decisions of a request."""
    failed_attempts: list[FailedAttempt] = Field(min_length=1)
    admission: Admission | None = None
    """What the request holds of its tenant's and client token's limits; null if they are unlimited."""
    rate_limits: RateLimits | None = None
    """What was left of them when the request was admitted."""
    reservation: Reservation | None = None
    """What the last attempt could have spent, if it was handed back before it began: another may spend it."""


Temperature = Annotated[float, Strict(), Field(ge=0, le=2, allow_inf_nan=False)]
"""How random a model's choice of words is."""


class BodyDefaults(Message):
    """Preferences about the body, which the worker applies: the router does not read it."""

    temperature: Temperature | None = None
    """For a chat that sets none."""
    max_tokens: Ordinal | None = None
    """For a chat that sets no limit."""
    most_tokens: Ordinal | None = None
    """A chat that asks for more is refused."""


class AttemptRun(RequestHead):
    """Head of `attempt.run`: one provider call to make; the body is the caller's, unchanged. `model` is the provider's name."""

    attempt_id: Identifier
    attempt_number: Ordinal
    decision_id: Identifier
    provider: ProviderName
    endpoint: EndpointName | None = None
    base_url: Url | None = None
    model_asked: Line
    replaces: Line | None = None
    """The retired model that was asked for, where its replacement is called."""
    applied_level: PowerLevel | None = None
    """The level by which model and offering were chosen; `power_level` stays what the request asked for."""
    key_source: KeySource
    key_id: KeyId | None = None
    """The provider key to lease from the vault; null where the endpoint needs none."""
    key_owner: TenantId | None = None
    """The key's owner: the tenant, or `platform`."""
    key_version: Ordinal | None = None
    key_fields: KeyFields = Field(default_factory=dict)
    """What the provider needs besides the key and is no secret: `region`, `deployment`, `api_version`, `project`, …"""
    drop_unsupported: bool = False
    """Whether to drop and report fields that the provider does not support, instead of refusing the request."""
    decision: DecisionSummary | None = None
    """Where the request asked for it; it goes to the caller with the acceptance."""
    body_defaults: BodyDefaults | None = None
    residency: Residency | None = None
    """Where it may be processed, for the worker to check again; null where nothing limits that."""
    remaining_candidates: Count = 0
    """How many other candidates the router still had that need not wait."""
    failed_attempts: list[FailedAttempt] = Field(default_factory=list)
    chosen_model: Line | None = None
    """The name under which the plan chose the model, where that is not the request's."""
    catalog_id: Line | None = None
    """The catalog's id of the model, where that is not its provider's name: budgets may be set by it."""
    delay_ms: Count = 0
    """How long to wait between accepting the attempt and calling the provider, which may be so much later than `start_by`."""
    first_answer_within_ms: Count | None = None
    """How long the provider may take until something of its answer can be delivered; null allows the whole deadline.

    It leaves the other candidates time of their own.
    """
    returns_failure: bool = False
    """Whether a failure goes back to the routers although no other candidate is left: a retry may follow, or another recovers."""
    fallback_policy: FallbackPolicy = DEFAULT_FALLBACK_POLICY
    fallback_reason: FallbackReason | None = None
    """Why the attempt is not the first choice of the request's plan; null if it is."""
    admission: Admission | None = None
    """What the request holds of its tenant's and client token's limits; null if they are unlimited."""
    rate_limits: RateLimits | None = None
    """What was left of them when the request was admitted."""
    tier: Tier | None = None
    """The tenant's tier, whose markup applies."""
    charged_level: PowerLevel | None = None
    """The level whose multiplier applies."""
    reservation: Reservation | None = None
    """What the attempt may spend of accounts that can run out; null if it counts against none."""
    allowance: AllowanceUse | None = None
    """The free requests of the month, if it is one of them."""
    content: ContentPolicy | None = None
    """What is stored of prompt and answer; null for nothing."""
    content_days: ContentDays = DEFAULT_CONTENT_DAYS


class ControlKind(StrEnum):
    """What a caller can ask of a worker."""

    CANCEL = "cancel"
    CREDIT = "credit"
    START = "start"
    """Call the provider; for an acceptance that awaits it."""


class Control(Message):
    """From a caller to the worker that accepted its attempt."""

    kind: ControlKind
    attempt_id: Identifier
    credit_bytes: Count = 0
    """With `credit`: payload bytes that may be sent in addition to earlier grants."""
    traceparent: Trace | None = None


class Probe(Message):
    """Ask a silent worker process which of these attempts are not running there."""

    attempt_ids: list[Identifier] = Field(min_length=1, max_length=5000)


class ProbeReply(Message):
    """The worker's reply: the attempts that are not running there."""

    unknown: list[Identifier]
