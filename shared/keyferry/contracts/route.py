"""Endpoints, decisions and the catalog: what the router is told and what it says."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import Failure
from keyferry.contracts.ids import EndpointName, TenantId
from keyferry.contracts.ids import ModelName as ModelName
from keyferry.contracts.money import Usd
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource


class DropReason(StrEnum):
    """Why a candidate was not taken. Closed, so that every reason has its words."""

    TENANT_SUSPENDED = "tenant_suspended"
    MODEL_NOT_OFFERED = "model_not_offered"
    ENDPOINT_DISABLED = "endpoint_disabled"
    NOT_NAMED = "not_named"
    """The request names another endpoint."""
    MODEL_NOT_ALLOWED = "model_not_allowed"
    """The client token may not use this model."""
    ALREADY_TRIED = "already_tried"
    """An attempt of this request has failed there."""
    UNHEALTHY = "unhealthy"
    """Its circuit is open or it asked for patience."""
    WRONG_KIND = "wrong_kind"
    """The model does not do what is asked: a chat of an embedding model, or the other way round."""
    NOT_IN_CATALOG = "not_in_catalog"
    """The model is not approved, and no key of the tenant's own lists it."""
    NO_KEY = "no_key"
    """Neither the tenant nor the platform has a key for the provider."""
    KEY_POLICY = "key_policy"
    """The tenant, or the request, does not want keys of this owner to pay."""
    KEY_UNUSABLE = "key_unusable"
    """The key is invalid, expired, disabled, or cannot be opened."""
    KEY_LIMIT_SPENT = "key_limit_spent"
    KEY_NOT_FOR_MODEL = "key_not_for_model"
    """The key may not be used for this model."""
    KEY_ELSEWHERE = "key_elsewhere"
    """The key's region does not have this offering."""
    TIER_TOO_LOW = "tier_too_low"
    """The tenant's tier does not include this model on the platform's keys."""
    UNPRICED = "unpriced"
    """The model has no list price, and the platform's keys pay only for what has one."""
    UNAPPROVED = "unapproved"
    """The tenant's own key lists the model, the catalog does not have it, and the tenant uses approved models only."""


class Candidate(Message):
    """One way to answer a request, and whether it was kept."""

    provider: str
    endpoint: EndpointName | None = None
    model: str
    key_source: KeySource
    key_id: str | None = None
    """The provider key that would pay, where the candidate has one."""
    region: str | None = None
    """Which of the provider's offerings it is, where they differ by region."""
    kept: bool
    reason: DropReason | None = None
    detail: str
    """The reason for people, kept or dropped."""


class DecisionRecord(Message):
    """What the router knew and chose for one request; refusals included."""

    decision_id: str
    request_id: str
    tenant: TenantId
    client_token_id: str | None = None
    router: str
    model_asked: str
    stream: bool
    decided_at: datetime
    duration_us: int = Field(ge=0)
    candidates: list[Candidate]
    order: list[int]
    """Indexes into `candidates`, best first: the plan."""
    refusal: Failure | None = None
    attempt_id: str | None = None
    """The attempt that this decision started."""
    attempt_number: int = Field(default=1, ge=1)
    """1 for the first decision of a request; one more after each attempt that failed."""
    traceparent: str | None = None


class Endpoint(Message):
    """A tenant's own OpenAI-compatible endpoint: vLLM, Ollama, a company gateway. It needs no stored key."""

    tenant: TenantId
    name: EndpointName
    base_url: str
    """Up to and including the version, without the trailing slash: `http://localhost:11434/v1`."""
    models: list[ModelName]
    """Model names it answers to without its own name in front; `<name>/<model>` always works."""
    priority: int = Field(default=100, ge=0, le=1000)
    """Lower is tried first among endpoints that offer the same model."""
    enabled: bool = True


class SaveEndpoint(Command):
    """Add an endpoint or replace the one of that name."""

    tenant: TenantId
    name: EndpointName
    base_url: Annotated[str, StringConstraints(min_length=8, max_length=2000)]
    models: Annotated[list[ModelName], Field(default_factory=list, max_length=1000)]
    priority: int = Field(default=100, ge=0, le=1000)
    enabled: bool = True


class RemoveEndpoint(Command):
    """Remove an endpoint."""

    tenant: TenantId
    name: EndpointName


class ListEndpoints(Command):
    """Ask for a tenant's endpoints."""

    tenant: TenantId


class Endpoints(Message):
    """A tenant's endpoints."""

    endpoints: list[Endpoint]


class ListModels(Command):
    """Ask what a tenant can call now, through a client token where one is given. What is null does not filter."""

    tenant: TenantId
    allowed_models: list[str] | None = None
    eu: bool | None = None
    """True: only what can be called inside the European Union."""
    recommended: str | None = None
    """Only what is recommended for this operation; `any` takes every operation."""
    provider: str | None = None
    tier: Tier | None = None
    model_class: ModelClass | None = None
    capability: Capability | None = None
    unavailable: bool | None = None
    """True: also approved models that the tenant cannot call, marked as such."""
    unapproved: bool | None = None
    """True: also what the tenant's own keys list beyond the catalog, marked as such."""
    sort: ModelSort | None = None
    """Null is by popularity."""


class ModelPrices(Message):
    """List prices in US dollars per million tokens, for a prompt of ordinary length and the ordinary service tier."""

    input_usd: Usd
    output_usd: Usd | None = None
    """Null where answers have no price: of an embedding model, or unknown."""
    cached_read_usd: Usd | None = None
    """Of prompt tokens that the provider reads from its cache; as input where they have no price of their own."""
    price_version: str


class Model(Message):
    """A model that a caller can name."""

    id: str
    provider: str
    """Of the offering that would be tried first."""
    endpoint: EndpointName | None = None
    key_source: KeySource
    """Whose key would be tried first."""
    providers: list[str] = Field(default_factory=list)
    """Every provider that can be called for it now."""
    key_sources: list[KeySource] = Field(default_factory=list)
    """Whose keys can be used for it now."""
    available: bool = True
    """Whether the tenant can call it now."""
    approved: bool = True
    """Whether the catalog has it, or it is on a server of the tenant's own; false for what only a key was seen to list.

    What is not approved is available where the tenant allows unapproved models.
    """
    eu: bool = False
    """Whether one of the ways to call it stays inside the European Union."""
    maker: str | None = None
    title: str | None = None
    description: str | None = None
    best_for: list[str] = Field(default_factory=list)
    model_class: ModelClass | None = None
    capabilities: list[Capability] = Field(default_factory=list)
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    dimensions: int | None = None
    tier: Tier | None = None
    recommended: list[str] = Field(default_factory=list)
    default: bool = False
    prices: ModelPrices | None = None
    """At `provider`, now; null where no list price is known."""


class Models(Message):
    """What a tenant can call now."""

    models: list[Model]


class GetDecision(Command):
    """Ask the ledger for the decision record of a request."""

    tenant: TenantId
    request_id: str


class Decision(Message):
    """The decision record of a request; null while it has not arrived."""

    record: DecisionRecord | None = None
    later: list[DecisionRecord] = Field(default_factory=list)
    """The decisions after attempts that failed, in order."""
