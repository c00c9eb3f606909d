"""One response of each kind from each family of providers, with every field in which text can come.

Hand-made, after the providers' API references.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keyferry.contracts.usage import RequestKind
from tests.support.providers import aws_event_stream

Document = dict[str, Any]
Path = tuple[str | int, ...]
Encode = Callable[[Sequence[Document]], bytes]


@dataclass(frozen=True)
class Response:
    """What a provider answers. `encode` writes the documents, one for each event of a stream."""

    name: str
    provider: str
    documents: Sequence[Document]
    encode: Encode
    status: int = 200
    kind: RequestKind = RequestKind.CHAT
    stream: bool = False
    content_type: str = "application/json"
    model: str = "some-model"


def one_json(documents: Sequence[Document]) -> bytes:
    """Write a document as the whole body."""
    return json.dumps(documents[0]).encode()


def data_events(documents: Sequence[Document]) -> bytes:
    """Write events without names, with a comment, an id and OpenAI's end mark."""
    events = b"".join(b"id: %d\ndata: %s\n\n" % (n, json.dumps(one).encode()) for n, one in enumerate(documents))
    return b": comment\n\n" + events + b"data: [DONE]\n\n"


def named_events(documents: Sequence[Document]) -> bytes:
    """Write events that are named after their type."""
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in documents)


def aws_events(documents: Sequence[Document]) -> bytes:
    """Write AWS's binary frames; each document has one member, named after its event."""
    frames: list[bytes] = []
    for one in documents:
        name, document = next(iter(one.items()))
        write = aws_event_stream.exception if name.endswith("Exception") else aws_event_stream.event
        frames.append(write(name, document))
    return b"".join(frames)


def text_paths(value: object, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every text in a document, and of every object, which a member may be added to."""
    if isinstance(value, dict):
        yield path
        for name, inner in value.items():
            yield from text_paths(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from text_paths(inner, (*path, place))
    elif isinstance(value, str):
        yield path


def with_text(documents: Sequence[Document], path: Path, text: str) -> list[Document]:
    """Return a copy of the documents in which the text at `path` is `text`, or the object there has a member of that name."""
    copy: list[Document] = json.loads(json.dumps(documents))
    target: Any = copy
    for step in path[:-1]:
        target = target[step]
    if isinstance(target[path[-1]], dict):
        target[path[-1]][text] = text
    else:
        target[path[-1]] = text
    return copy


_OPENAI_USAGE = {
    "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0},
}  # fmt: skip
_OPENAI_ENVELOPE = {
    "id": "chatcmpl-1", "created": 1, "model": "m", "system_fingerprint": "fp", "service_tier": "default", "provider": "p",
}  # fmt: skip
_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
_ERROR = {
    "message": "wrong",
    "type": "invalid_request_error",
    "param": "model",
    "code": "bad",
    "metadata": {"raw": "raw"},
}


def _chunk(delta: Document, finish: str | None = None, **more: object) -> Document:
    choice = {
        "index": 0,
        "delta": delta,
        "finish_reason": finish,
        "logprobs": {"content": [{"token": "t", "bytes": [1]}]},
    }
    return {**_OPENAI_ENVELOPE, "object": "chat.completion.chunk", "choices": [choice], **more}


_OPENAI = (
    Response(
        "chat", "custom",
        [{
            **_OPENAI_ENVELOPE, "object": "chat.completion", "usage": _OPENAI_USAGE,
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": {"content": [{"token": "t", "bytes": [1]}]},
                "message": {
                    "role": "assistant", "content": "text", "refusal": "no", "reasoning": "why", "tool_calls": [_CALL],
                    "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}],
                    "audio": {"id": "a", "data": "AA==", "transcript": "t"},
                },
            }],
        }],
        one_json,
    ),
    Response(
        "stream", "custom",
        [
            _chunk({"role": "assistant", "content": ""}), _chunk({"content": "text"}), _chunk({"reasoning": "why"}),
            _chunk({"refusal": "no"}), _chunk({"tool_calls": [_CALL]}),
            _chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]}),
            _chunk({}, "stop"), {**_OPENAI_ENVELOPE, "choices": [], "usage": _OPENAI_USAGE},
        ],
        data_events, stream=True, content_type="text/event-stream",
    ),
    Response("error", "custom", [{"error": _ERROR}], one_json, status=400),
    Response("error in a 200", "custom", [{"error": _ERROR}], one_json),
    Response(
        "error in a stream", "custom", [_chunk({"content": "half"}), {"error": _ERROR}], data_events, stream=True,
        content_type="text/event-stream",
    ),
    Response(
        "embeddings", "custom",
        [{
            "object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }],
        one_json, kind=RequestKind.EMBEDDING,
    ),
    Response("Azure's error", "azure", [{"error": {**_ERROR, "innererror": {"code": "x"}}}], one_json, status=401),
)  # fmt: skip

_CLAUDE_USAGE = {"input_tokens": 3, "output_tokens": 2, "service_tier": "standard"}
_ANTHROPIC_ERROR = {
    "type": "error",
    "request_id": "req_1",
    "error": {"type": "invalid_request_error", "message": "wrong"},
}
_ANTHROPIC_START = {
    "type": "message_start",
    "message": {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "usage": _CLAUDE_USAGE,
    },
}
_ANTHROPIC = (
    Response(
        "chat", "anthropic",
        [{
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
            "stop_sequence": "s", "usage": _CLAUDE_USAGE,
            "content": [
                {"type": "thinking", "thinking": "why", "signature": "sig"},
                {"type": "text", "text": "text", "citations": [{"type": "char_location", "cited_text": "c"}]},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": "b"}},
            ],
        }],
        one_json,
    ),
    Response(
        "stream", "anthropic",
        [
            _ANTHROPIC_START,
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "why"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "text"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
            {"type": "content_block_stop", "index": 2},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": "s"}, "usage": _CLAUDE_USAGE},
            {"type": "message_stop"},
        ],
        named_events, stream=True, content_type="text/event-stream",
    ),
    Response("error", "anthropic", [_ANTHROPIC_ERROR], one_json, status=400),
    Response(
        "error in a stream", "anthropic", [_ANTHROPIC_START, _ANTHROPIC_ERROR], named_events, stream=True,
        content_type="text/event-stream",
    ),
)  # fmt: skip

_GEMINI_ANSWER = {
    "candidates": [{
        "index": 0, "finishReason": "STOP",
        "content": {
            "role": "model",
            "parts": [
                {"thought": True, "text": "why"}, {"text": "text", "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "i", "name": "f", "args": {"a": "b"}}},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {"codeExecutionResult": {"outcome": "OK", "output": "1"}},
                {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
            ],
        },
        "citationMetadata": {"citationSources": [{"uri": "u", "license": "l"}]},
        "groundingMetadata": {"webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "u", "title": "t"}}]},
        "finishMessage": "done",
    }],
    "modelVersion": "gemini", "responseId": "r", "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "x": "y"},
}  # fmt: skip
_GOOGLE_ERROR = {
    "error": {
        "code": 400, "message": "wrong", "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "R", "domain": "d", "metadata": {"m": "n"}}],
    }
}  # fmt: skip
_BLOCKED = {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}, "modelVersion": "gemini"}
_GEMINI = tuple(
    response
    for provider in ("gemini", "vertex")
    for response in (
        Response("chat", provider, [_GEMINI_ANSWER], one_json),
        Response("blocked", provider, [_BLOCKED], one_json),
        Response(
            "stream", provider, [_GEMINI_ANSWER], data_events, stream=True, content_type="text/event-stream"
        ),
        Response("error", provider, [_GOOGLE_ERROR], one_json, status=400),
        Response("error in a stream", provider, [_GOOGLE_ERROR], data_events, stream=True, content_type="text/event-stream"),
    )
)  # fmt: skip

_COHERE_USAGE = {"billed_units": {"input_tokens": 3}, "tokens": {"input_tokens": 3, "output_tokens": 2}}
_COHERE_CALL = {"id": "call", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
_CITATION = {"start": 0, "end": 1, "text": "t", "sources": [{"type": "document", "id": "s"}]}
_COHERE = (
    Response(
        "chat", "cohere",
        [{
            "id": "c-1", "finish_reason": "COMPLETE", "usage": _COHERE_USAGE,
            "message": {
                "role": "assistant", "tool_plan": "plan", "tool_calls": [_COHERE_CALL], "citations": [_CITATION],
                "content": [{"type": "thinking", "thinking": "why"}, {"type": "text", "text": "text"}],
            },
        }],
        one_json,
    ),
    Response(
        "stream", "cohere",
        [
            {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant", "content": []}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "text"}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "why"}}}},
            {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "plan"}}},
            {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": _COHERE_CALL}}},
            {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}}},
            {"type": "citation-start", "index": 0, "delta": {"message": {"citations": _CITATION}}},
            {"type": "message-end", "id": "c-1", "delta": {"finish_reason": "COMPLETE", "usage": _COHERE_USAGE}},
        ],
        named_events, stream=True, content_type="text/event-stream",
    ),
    Response("error", "cohere", [{"id": "c-1", "message": "wrong"}], one_json, status=400),
    Response(
        "embeddings", "cohere",
        [{"id": "c-1", "texts": ["t"], "embeddings": {"float": [[0.5]]}, "meta": {"billed_units": {"input_tokens": 1}}}],
        one_json, kind=RequestKind.EMBEDDING,
    ),
)  # fmt: skip

_NOVA = "us.amazon.nova-lite-v1:0"
_BEDROCK_USAGE = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
_BEDROCK = (
    Response(
        "chat", "bedrock",
        [{
            "stopReason": "end_turn", "usage": _BEDROCK_USAGE, "trace": {"promptRouter": {"invokedModelId": "m"}},
            "serviceTier": {"type": "default"},
            "output": {"message": {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "why", "signature": "sig"}}}, {"text": "text"},
                {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": "b"}}},
            ]}},
        }],
        one_json, model=_NOVA,
    ),
    Response(
        "stream", "bedrock",
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "why"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "sig"}}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "text"}}},
            {"contentBlockStop": {"contentBlockIndex": 1}},
            {"contentBlockStart": {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"a":1}'}}}},
            {"contentBlockStop": {"contentBlockIndex": 2}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": _BEDROCK_USAGE, "metrics": {}, "serviceTier": {"type": "default"}}},
        ],
        aws_events, stream=True, model=_NOVA, content_type="application/vnd.amazon.eventstream",
    ),
    Response("error", "bedrock", [{"message": "wrong", "__type": "ValidationException"}], one_json, status=400, model=_NOVA),
    Response(
        "error in a stream", "bedrock",
        [
            {"messageStart": {"role": "assistant"}}, {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "half"}}},
            {"modelStreamErrorException": {"message": "wrong", "originalMessage": "inner", "originalStatusCode": 500}},
        ],
        aws_events, stream=True, model=_NOVA, content_type="application/vnd.amazon.eventstream",
    ),
    Response(
        "embeddings", "bedrock", [{"embedding": [0.5], "inputTextTokenCount": 1, "embeddingsByType": {"float": [0.5]}}], one_json,
        kind=RequestKind.EMBEDDING, model="amazon.titan-embed-text-v2:0",
    ),
)  # fmt: skip

RESPONSES = (*_OPENAI, *_ANTHROPIC, *_GEMINI, *_COHERE, *_BEDROCK)
