"""Parsing of OpenAI's objects: a `chat.completion` object, the chunks of a stream, or a `list` of embeddings.

Source of the shapes: the OpenAI API reference, "The chat completion object", "The chat completion chunk object" and "The
embedding object". Reasoning is read from `reasoning_content`, where the provider workers put it. Pure.
"""

import base64
import binascii
import struct
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from keyferry.client.results import (
    ChatAnswer,
    CompletionUsage,
    Delta,
    Embeddings,
    JsonObject,
    Route,
    ToolCall,
    ToolCallPiece,
)

_FLOAT_BYTES = 4
_RAW = TypeAdapter(dict[str, JsonValue])


class MalformedAnswer(ValueError):
    """The answer is not what the OpenAI API defines."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(_Part):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(_Part):
    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class _Message(_Part):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[_ToolCall, ...] | None = None


class _Choice(_Part):
    index: int = 0
    message: _Message = _Message()
    delta: _Message = _Message()
    finish_reason: str | None = None


class _Details(_Part):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(_Part):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def to_usage(self) -> CompletionUsage:
        prompt = self.prompt_tokens_details or _Details()
        completion = self.completion_tokens_details or _Details()
        return CompletionUsage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.total_tokens,
            cached_tokens=prompt.cached_tokens or 0,
            reasoning_tokens=completion.reasoning_tokens or 0,
        )


class _Object(_Part):
    id: str | None = None
    created: int | None = None
    model: str | None = None
    choices: tuple[_Choice, ...] = ()
    usage: dict[str, JsonValue] | None = None


def parse_object(data: bytes) -> JsonObject:
    """Parse a JSON object. Raises MalformedAnswer."""
    try:
        return _RAW.validate_json(data)
    except ValidationError:
        raise MalformedAnswer("the answer is not a JSON object") from None


def parse_answer(raw: JsonObject, *, request_id: str, route: Route) -> ChatAnswer:
    """Return the answer in a `chat.completion` object. Raises MalformedAnswer."""
    try:
        read = _Object.model_validate(raw)
        usage = None if read.usage is None else _Usage.model_validate(read.usage).to_usage()
    except ValidationError as error:
        raise MalformedAnswer(f"the answer has {error.error_count()} fields of a wrong type") from None
    if not read.choices:
        raise MalformedAnswer("the answer has no choices")
    choice = read.choices[0]
    calls = choice.message.tool_calls or ()
    return ChatAnswer(
        text=choice.message.content or "",
        reasoning=choice.message.reasoning_content or "",
        tool_calls=tuple(
            ToolCall(call.id or "", call.function.name or "", call.function.arguments or "") for call in calls
        ),
        finish_reason=choice.finish_reason,
        usage=usage,
        model=read.model or route.model,
        request_id=request_id,
        route=route,
        raw=raw,
    )


class _Row(_Part):
    index: int = 0
    embedding: str | list[float]

    def vector(self) -> tuple[float, ...]:
        if isinstance(self.embedding, list):
            return tuple(self.embedding)
        data = base64.b64decode(self.embedding, validate=True)
        return struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data)


class _List(_Part):
    model: str | None = None
    data: tuple[_Row, ...]
    usage: dict[str, JsonValue] | None = None


def parse_embeddings(raw: JsonObject, *, request_id: str, route: Route) -> Embeddings:
    """Return the vectors in a `list` of embeddings: numbers, or base64 of little-endian 32-bit floats.

    Raises MalformedAnswer.
    """
    try:
        read = _List.model_validate(raw)
        usage = None if read.usage is None else _Usage.model_validate(read.usage).to_usage()
        vectors = tuple(row.vector() for row in sorted(read.data, key=lambda row: row.index))
    except ValidationError as error:
        raise MalformedAnswer(f"the answer has {error.error_count()} fields of a wrong type") from None
    except (binascii.Error, struct.error):
        raise MalformedAnswer("the answer holds an embedding that cannot be decoded") from None
    return Embeddings(vectors, usage, read.model or route.model, request_id, route, raw)


@dataclass(slots=True)
class _StreamedToolCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _StreamedChoice:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, _StreamedToolCall] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, delta: Delta) -> None:
        self.text.append(delta.text)
        self.reasoning.append(delta.reasoning)
        for piece in delta.tool_calls:
            call = self.calls.setdefault(piece.index, _StreamedToolCall())
            call.id = call.id or piece.id or ""
            call.name = call.name or piece.name or ""
            call.arguments.append(piece.arguments)

    def to_json(self, index: int) -> dict[str, JsonValue]:
        message: dict[str, JsonValue] = {"role": "assistant", "content": "".join(self.text) or None}
        if reasoning := "".join(self.reasoning):
            message["reasoning_content"] = reasoning
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for _, call in sorted(self.calls.items())
            ]
        return {"index": index, "message": message, "finish_reason": self.finish_reason}


class StreamAssembly:
    """Assembles the chunks of one stream."""

    def __init__(self) -> None:
        self._choices: dict[int, _StreamedChoice] = {}
        self._envelope: dict[str, JsonValue] = {"object": "chat.completion"}

    def add(self, chunk: bytes) -> list[Delta]:
        """Add a `chat.completion.chunk` and return its deltas: none if it has only a role or the usage.

        Raises MalformedAnswer.
        """
        try:
            read = _Object.model_validate_json(chunk)
        except ValidationError:
            raise MalformedAnswer("a piece of the stream is not a chat.completion.chunk") from None
        envelope = {"id": read.id, "created": read.created, "model": read.model, "usage": read.usage}
        self._envelope |= {name: value for name, value in envelope.items() if value is not None}
        deltas = []
        for choice in read.choices:
            streamed = self._choices.setdefault(choice.index, _StreamedChoice())
            streamed.finish_reason = choice.finish_reason or streamed.finish_reason
            if (delta := _to_delta(choice)) is not None:
                streamed.add(delta)
                deltas.append(delta)
        return deltas

    def completion(self) -> JsonObject:
        """Return the `chat.completion` object that is equivalent to the stream."""
        choices: list[JsonValue] = [choice.to_json(index) for index, choice in sorted(self._choices.items())]
        return {**self._envelope, "choices": choices}


def _to_delta(choice: _Choice) -> Delta | None:
    delta = choice.delta
    if not (delta.content or delta.reasoning_content or delta.tool_calls):
        return None
    pieces = tuple(
        ToolCallPiece(call.index, call.id, call.function.name, call.function.arguments or "")
        for call in delta.tool_calls or ()
    )
    return Delta(delta.content or "", delta.reasoning_content or "", pieces, choice.index)
