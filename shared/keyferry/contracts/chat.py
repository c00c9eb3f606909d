"""A chat request on its way: the request, the attempt, and control."""

from enum import StrEnum

from pydantic import Field

from keyferry.contracts.envelope import Head, Message
from keyferry.contracts.ids import EndpointName, TenantId
from keyferry.contracts.usage import KeySource


class RequestHead(Head):
    """What both hops know of a request.

    `deadline_ms` is what remains of the caller's deadline when the message is sent. `start_by_unix_ms` is a moment, because
    it has to hold across a process that was frozen with the message in its socket: a worker does not call the provider
    after it, so a caller may send the request once more shortly after it and nothing is paid twice.
    """

    request_id: str
    tenant: TenantId
    client_token_id: str | None = None
    model: str
    stream: bool
    include_usage: bool = False
    """Whether the caller asked for the usage chunk of a stream."""
    operation: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    deadline_ms: int = Field(ge=0)
    start_by_unix_ms: int
    traceparent: str | None = None


class ChatRequest(RequestHead):
    """Head of `chat.request`; the body is the caller's OpenAI-shaped JSON, byte for byte."""

    allowed_models: list[str] | None = None
    """What the caller's client token may use; null is everything."""


class AttemptRun(RequestHead):
    """Head of `attempt.run`: one provider call to make; the body is the caller's, unchanged. `model` is the upstream's name."""

    attempt_id: str
    attempt_number: int = Field(ge=1)
    decision_id: str
    provider: str
    endpoint: EndpointName | None = None
    base_url: str | None = None
    model_asked: str
    key_source: KeySource
    key_id: str | None = None


class ControlKind(StrEnum):
    """What a caller can tell a worker."""

    CANCEL = "cancel"


class Control(Message):
    """From a caller to the worker that accepted its attempt."""

    kind: ControlKind
    attempt_id: str
