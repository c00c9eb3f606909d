"""Endpoints, decisions and the catalog: what the router is told and what it says."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import Failure
from keyferry.contracts.ids import EndpointName, TenantId
from keyferry.contracts.usage import KeySource

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


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


class Candidate(Message):
    """One way to answer a request, and whether it was kept."""

    provider: str
    endpoint: EndpointName | None = None
    model: str
    key_source: KeySource
    kept: bool
    reason: DropReason | None = None
    words: str
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
    """Ask what a tenant can call now, through a client token where one is given."""

    tenant: TenantId
    allowed_models: list[str] | None = None


class Model(Message):
    """A model that a caller can name."""

    id: str
    provider: str
    endpoint: EndpointName | None = None
    key_source: KeySource


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
