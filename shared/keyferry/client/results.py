"""What a call gives back: a whole answer, or the deltas that it comes in."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from keyferry.contracts.frames import Accepted
from keyferry.contracts.usage import KeySource

JsonObject = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class CompletionUsage:
    """Tokens as the OpenAI API counts them: the last two are parts of the first two, not additions to them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model wants made; `arguments` is the JSON text as the model wrote it, which may be wrong."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of a tool call. `id` and `name` stand in the first piece of each `index`; `arguments` add up."""

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
    """Which of several answers it belongs to, where `n` asked for more than one."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which way a request went; `keyferry explain` says why."""

    provider: str
    endpoint: str | None
    """The tenant's own endpoint, where it went to one."""
    model: str
    """The name sent upstream."""
    key_source: KeySource
    attempt_id: str
    attempt_number: int
    decision_id: str

    @classmethod
    def of(cls, accepted: Accepted) -> "Route":
        """The route of an attempt that a worker has taken."""
        return cls(
            provider=accepted.provider,
            endpoint=accepted.endpoint,
            model=accepted.model,
            key_source=accepted.key_source,
            attempt_id=accepted.attempt_id,
            attempt_number=accepted.attempt_number,
            decision_id=accepted.decision_id,
        )


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of texts, in the order of the texts; `raw` is the whole `list` object, with the vectors as it came."""

    vectors: tuple[tuple[float, ...], ...]
    usage: CompletionUsage | None
    """Null where the provider reports none."""
    model: str
    """The model that answered, as the provider names it."""
    request_id: str
    route: Route
    raw: JsonObject


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A whole answer. Texts are those of the first choice; `raw` is the whole `chat.completion` object."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: CompletionUsage | None
    """Null where the provider reports none."""
    model: str
    """The model that answered, as the provider names it."""
    request_id: str
    route: Route
    raw: JsonObject
