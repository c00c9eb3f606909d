"""The results of calls: a whole answer, or the deltas of a stream. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from keyferry.contracts.fallback import FallbackReason
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.frames import Accepted
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.route import DecisionSummary
from keyferry.contracts.usage import KeySource

JsonObject = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class CompletionUsage:
    """Tokens as the OpenAI API counts them: the last two are parts of the first two, not additions."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model requests; `arguments` is JSON text as the model wrote it, which may be invalid."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of a tool call. Only the first piece of each `index` has `id` and `name`; `arguments` are concatenated."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer; at least one of its texts or tool calls is not empty."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallPiece, ...] = ()
    choice: int = 0
    """The index of the answer that it belongs to, if `n` requested more than one."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request was sent; `keyferry explain` shows why."""

    provider: str
    endpoint: str | None
    """The tenant's own endpoint, if the request was sent to one."""
    model: str
    """The model name that was sent to the provider."""
    key_source: KeySource
    attempt_id: str
    attempt_number: int
    decision_id: str
    decision: DecisionSummary | None = None
    """What was considered and why, where the request asked for it (`RoutingOptions.explain`)."""
    rate_limits: RateLimits | None = None
    """What was left of the limits of the tenant; None where it has none."""
    power_level: PowerLevel | None = None
    """The level by which the model or its offering was chosen; None where none was."""
    fallback_reason: FallbackReason | None = None
    """Why it was not the first choice: the failure of the first attempt, or `unhealthy`; None if it was."""

    @classmethod
    def of(cls, accepted: Accepted) -> "Route":
        """Return the route of an attempt that a worker has accepted."""
        return cls(
            provider=accepted.provider,
            endpoint=accepted.endpoint,
            model=accepted.model,
            key_source=accepted.key_source,
            attempt_id=accepted.attempt_id,
            attempt_number=accepted.attempt_number,
            decision_id=accepted.decision_id,
            decision=accepted.decision,
            rate_limits=accepted.rate_limits,
            power_level=accepted.power_level,
            fallback_reason=accepted.fallback_reason,
        )


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of texts, in the order of the texts; `raw` is the complete `list` object as received."""

    vectors: tuple[tuple[float, ...], ...]
    usage: CompletionUsage | None
    """None if the provider reports none."""
    model: str
    """The model that answered, as the provider names it."""
    request_id: str
    route: Route
    raw: JsonObject


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A whole answer. Texts are those of the first choice; `raw` is the complete `chat.completion` object."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: CompletionUsage | None
    """None if the provider reports none."""
    model: str
    """The model that answered, as the provider names it."""
    request_id: str
    route: Route
    raw: JsonObject
