"""Messages of the router: endpoints, models and decisions. Pure."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.drop_reason import DropReason as DropReason
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.fallback import FallbackReason
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.ids import (
    Actor,
    ChosenModel,
    EndpointName,
    KeyId,
    Operation,
    ProviderName,
    Reference,
    Tags,
    TenantId,
)
from keyferry.contracts.ids import ModelName as ModelName
from keyferry.contracts.money import Usd
from keyferry.contracts.rules import AppliedRule
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.text import Count, Explanation, GivenUrl, Identifier, Line, Moment, Ordinal, Trace, Url
from keyferry.contracts.usage import KeySource, RequestKind


class Candidate(Message):
    """One way to serve a request, and whether it was kept."""

    provider: ProviderName
    endpoint: EndpointName | None = None
    """The name of the tenant's own server: of an endpoint, or of the server that the key is for."""
    model: Line
    """The provider's name for the model."""
    chosen_model: Line | None = None
    """The name under which the plan chose the model, where that is not the request's."""
    replaces: Line | None = None
    """The retired model that it answers for, as its operator decided."""
    key_source: KeySource
    key_id: KeyId | None = None
    """The provider key that would pay, where the candidate has one."""
    region: Line | None = None
    """The region of the offering, where the provider's offerings differ by region."""
    kept: bool
    reason: DropReason | None = None
    detail: Explanation
    """Why it was kept or dropped, in plain text."""
    delay_ms: Count = 0
    """How long it has to be waited for: until a retry, or until it takes requests again."""


class ConsideredModel(Message):
    """One model that a plan considered: planned in this order, or passed over."""

    model: Line
    planned: bool = True
    """Whether it has candidates in the plan."""
    detail: Explanation
    """Why it is in the plan, or why it was passed over."""


class AppliedPreference(Message):
    """One preference that mattered for a request, and where it is saved."""

    name: Line
    value: Explanation
    origin: Identifier
    """The scope, or `default`."""
    origin_id: Identifier | None = None


class DecisionRecord(Message):
    """What the router knew and chose for one request; refusals included. Or why a worker did not make the chosen attempt."""

    decision_id: Identifier
    request_id: Identifier
    tenant: TenantId
    client_token_id: Identifier | None = None
    router: Identifier
    """Who decided: the router, or the worker that refused the attempt."""
    kind: RequestKind = RequestKind.CHAT
    model_asked: Line
    operation: Operation | None = None
    tags: Tags = Field(default_factory=dict)
    team: Reference | None = None
    member: Reference | None = None
    power_level: PowerLevel | None = None
    """The level that was applied; null where the request names a model."""
    asked_level: PowerLevel | None = None
    """The level that the request asked for besides its model."""
    features: RequestFeatures | None = None
    prefer_own_keys: Literal["first", "last", "only"] | None = None
    conversation: Reference | None = None
    models: list[ConsideredModel] = Field(default_factory=list)
    """The models that were considered, best first."""
    rule: AppliedRule | None = None
    """The routing rule that chose the models, if one matched."""
    preferences: list[AppliedPreference] = Field(default_factory=list)
    """The preferences that mattered, with their origins."""
    stream: bool
    decided_at: Moment
    duration_us: Count
    candidates: list[Candidate]
    order: list[Count]
    """Indexes into `candidates`, best first: the plan."""
    refusal: Failure | None = None
    attempt_id: Identifier | None = None
    """The attempt that this decision started."""
    attempt_number: Ordinal = 1
    """1 for the first decision of a request, incremented after each failed attempt."""
    attempt_refused: bool = False
    """Whether a worker refused the attempt before this decision: nothing was called, and the ledger has no row of it."""
    delay_ms: Count = 0
    """How long the attempt waits before the provider is called."""
    fallback_reason: FallbackReason | None = None
    """Why the attempt is not the first choice of the plan; null if it is."""
    traceparent: Trace | None = None


class SummarizedCandidate(Message):
    """A candidate as a caller may see it: without the ids of keys."""

    provider: ProviderName
    endpoint: EndpointName | None = None
    model: Line
    key_source: KeySource
    region: Line | None = None
    rank: Ordinal | None = None
    """Its place in the plan, from 1; null if it was dropped."""
    reason: DropReason | None = None
    detail: Explanation


class FormerAttempt(Message):
    """An attempt of the request that failed before the one that the decision started."""

    provider: ProviderName
    endpoint: EndpointName | None = None
    model: Line
    failure: FailureClass


class DecisionSummary(Message):
    """The decision about a request for its caller: the object `keyferry` of an answer that asked for it."""

    request_id: Identifier
    decision_id: Identifier
    model_asked: Line
    operation: Operation | None = None
    power_level: PowerLevel | None = None
    models: list[ConsideredModel] = Field(default_factory=list)
    rule: AppliedRule | None = None
    """The routing rule that chose the models, if one matched."""
    preferences: list[AppliedPreference] = Field(default_factory=list)
    """The preferences that mattered, with their origins."""
    candidates: list[SummarizedCandidate] = Field(default_factory=list)
    """Planned ones first, in order."""
    more_candidates: Count = 0
    """Dropped candidates beyond those that are listed."""
    failed_attempts: list[FormerAttempt] = Field(default_factory=list)


class Endpoint(Message):
    """A tenant's own OpenAI-compatible endpoint: vLLM, Ollama, a company gateway. It needs no stored key."""

    tenant: TenantId
    name: EndpointName
    base_url: Url
    """Up to and including the version, without the trailing slash: `http://localhost:11434/v1`."""
    models: list[ModelName]
    """Model names it serves without the endpoint's name as a prefix; `<name>/<model>` always works."""
    priority: int = Field(default=100, ge=0, le=1000)
    """Lower values come first among endpoints that offer the same model."""
    enabled: bool = True
    eu: bool = False
    """Whether the tenant says that it processes requests inside the European Union."""


class SaveEndpoint(Command):
    """Add an endpoint, or replace the one of that name."""

    tenant: TenantId
    name: EndpointName
    actor: Actor = "operator"
    """Who does it, for the audit."""
    base_url: GivenUrl
    models: Annotated[list[ChosenModel], Field(default_factory=list, max_length=1000)]
    priority: int = Field(default=100, ge=0, le=1000)
    enabled: bool = True
    eu: bool = False
    """Whether it processes requests inside the European Union: nothing else may serve a tenant that allows only that."""
    probe: bool = False
    """Try the address first, and save nothing that cannot work. An endpoint that is switched off is not tried."""


class ProbeEndpoint(Message):
    """Have a worker try an address, without a key: of an endpoint, of a provider, or of the built-in echo."""

    base_url: Url


class ProbeOutcome(StrEnum):
    """What was found at an address."""

    LISTED = "listed"
    """The server answers with a list of its models."""
    ANSWERED = "answered"
    """The server answers, but not with a list of models."""
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    """The gateway does not call this address."""


class EndpointProbe(Message):
    """The result of trying an address."""

    outcome: ProbeOutcome
    status: Count | None = None
    """The HTTP status, if the server answered."""
    models: list[ModelName] = Field(default_factory=list, max_length=2000)
    detail: Explanation
    duration_ms: Count


class SavedEndpoint(Endpoint):
    """An endpoint as it was saved, and what was found at its address."""

    probe: EndpointProbe | None = None
    """Null if it was not tried."""
    warnings: list[Explanation] = Field(default_factory=list)
    """What may keep it from working."""


class RemoveEndpoint(Command):
    """Remove an endpoint."""

    tenant: TenantId
    name: EndpointName
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ListEndpoints(Command):
    """Request a tenant's endpoints."""

    tenant: TenantId


class Endpoints(Message):
    """A tenant's endpoints."""

    endpoints: list[Endpoint]


class ListModels(Command):
    """Request the models that a tenant can call now, with a client token's limits if given. Null fields do not filter."""

    tenant: TenantId
    team: Reference | None = None
    """With `member` and `client_token_id`: whose preferences decide what can be called."""
    member: Reference | None = None
    client_token_id: Identifier | None = None
    allowed_models: list[Line] | None = None
    eu: bool | None = None
    """True: only models that can be called inside the European Union."""
    recommended: Operation | None = None
    """Only models recommended for this operation; `any` means any operation."""
    provider: ProviderName | None = None
    tier: Tier | None = None
    model_class: ModelClass | None = None
    capability: Capability | None = None
    unavailable: bool | None = None
    """True: also approved models that the tenant cannot call, marked as such."""
    unapproved: bool | None = None
    """True: also models outside the catalog that the tenant's own keys list, marked as such."""
    sort: ModelSort | None = None
    """Null sorts by popularity."""


class ModelPrices(Message):
    """List prices in US dollars per million tokens, for a prompt of ordinary length and the ordinary service tier."""

    input_usd: Usd
    output_usd: Usd | None = None
    """Null for embedding models, or if unknown."""
    cached_read_usd: Usd | None = None
    """Price of prompt tokens read from the provider's cache; the input price where there is no separate one."""
    price_version: Line


class Model(Message):
    """A model that a caller can name."""

    id: Line
    provider: ProviderName
    """The provider of the offering that would be tried first."""
    endpoint: EndpointName | None = None
    key_source: KeySource
    """Whose key would be tried first."""
    providers: list[ProviderName] = Field(default_factory=list)
    """Every provider that can be called for it now."""
    key_sources: list[KeySource] = Field(default_factory=list)
    """Whose keys can be used for it now."""
    available: bool = True
    """Whether the tenant can call it now."""
    approved: bool = True
    """Whether it is in the catalog or on the tenant's own server; false for models that only a key lists.

    Unapproved models are available where the tenant allows them.
    """
    virtual: bool = False
    """Whether it stands for a choice of the gateway: `eco`, `balanced`, `precision`, `auto`. `provider` is then `keyferry`."""
    eu: bool = False
    """Whether one of its offerings stays inside the European Union."""
    maker: Line | None = None
    title: Line | None = None
    description: Line | None = None
    best_for: list[Line] = Field(default_factory=list)
    model_class: ModelClass | None = None
    capabilities: list[Capability] = Field(default_factory=list)
    context_tokens: Count | None = None
    max_output_tokens: Count | None = None
    dimensions: Count | None = None
    tier: Tier | None = None
    recommended: list[Operation] = Field(default_factory=list)
    default: bool = False
    prices: ModelPrices | None = None
    """At `provider`, now; null where no list price is known."""


class Models(Message):
    """The models that a tenant can call now."""

    models: list[Model]
    unknown: list[Line] = Field(default_factory=list)
    """Of the query's `allowed_models`, those that lead to no model; only where `unavailable` was asked for."""


class GetDecision(Command):
    """Request the decision record of a request."""

    tenant: TenantId
    request_id: Identifier


class Decision(Message):
    """The decision record of a request; null while it has not arrived."""

    record: DecisionRecord | None = None
    later: list[DecisionRecord] = Field(default_factory=list)
    """The decisions after failed attempts, in order."""
