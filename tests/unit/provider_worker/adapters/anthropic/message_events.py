"""Hand-made event streams and documents in the shapes of Anthropic's Messages API, for tests."""

import json
from typing import Any

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.anthropic.adapter import AnthropicAdapter
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]

ADAPTER = AnthropicAdapter()
STOP: JsonObject = {"type": "message_stop"}


def event(document: JsonObject) -> bytes:
    """One named event."""
    return f"event: {document.get('type')}\ndata: {json.dumps(document)}\n\n".encode()


def start(**usage: object) -> bytes:
    """The start of a message."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "usage": usage,
    }
    return event({"type": "message_start", "message": message})


def block(index: int, content_block: JsonObject, *deltas: JsonObject) -> bytes:
    """One content block from its start to its stop."""
    events: list[JsonObject] = [{"type": "content_block_start", "index": index, "content_block": content_block}]
    events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return b"".join(map(event, [*events, {"type": "content_block_stop", "index": index}]))


def text(index: int, *pieces: str) -> bytes:
    """A block of text."""
    deltas: list[JsonObject] = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def tool(index: int, name: str, *pieces: str, call_id: str = "toolu_1") -> bytes:
    """A tool call whose arguments come in these pieces."""
    deltas: list[JsonObject] = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(index, {"type": "tool_use", "id": call_id, "name": name, "input": {}}, *deltas)


def end(stop_reason: str = "end_turn", **delta: object) -> bytes:
    """The stop reason with the last usage, and the end of the message."""
    fields: JsonObject = {"stop_reason": stop_reason, "stop_sequence": None, **delta}
    return event({"type": "message_delta", "delta": fields, "usage": {"output_tokens": 7}}) + event(STOP)


def read(*pieces: bytes, include_usage: bool = False, json_tool: str | None = None) -> tuple[list[JsonObject], Answer]:
    """The chunks and the answer of a stream that is fed in these pieces."""
    run = attempt_run(stream=True, include_usage=include_usage)
    notes = {} if json_tool is None else {"json_tool": json_tool}
    reader = ADAPTER.reader(run, UpstreamRequest("https://provider.test", {}, b"", notes=notes), 200, {})
    chunks = [json.loads(chunk) for piece in pieces for chunk in reader.feed(piece)]
    return chunks, reader.close()


def read_complete(document: object, *, json_tool: str | None = None) -> tuple[JsonObject, Answer]:
    """The completion (empty on failure) and the answer for one document."""
    notes = {} if json_tool is None else {"json_tool": json_tool}
    reader = ADAPTER.reader(attempt_run(), UpstreamRequest("https://provider.test", {}, b"", notes=notes), 200, {})
    reader.feed(document if isinstance(document, bytes) else json.dumps(document).encode())
    answer = reader.close()
    return (json.loads(answer.body) if answer.body else {}), answer


def message(*content: JsonObject, stop_reason: str | None = "end_turn", **fields: object) -> JsonObject:
    """A complete message."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": list(content),
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 3, "output_tokens": 2},
        **fields,
    }


def choice_of(document: JsonObject) -> dict[str, Any]:
    """The only choice of a completion or a chunk."""
    choices = document["choices"]
    assert isinstance(choices, list)
    (choice,) = choices
    return dict(choice)


def delta_of(chunk: JsonObject) -> dict[str, Any]:
    """The delta of a chunk's only choice."""
    return dict(choice_of(chunk)["delta"])


def request_body(openai: JsonObject, *, model: str = "claude-haiku-4-5", drop: bool = False) -> dict[str, Any]:
    """The body that the adapter sends for `openai`, whose messages are one question unless it has its own."""
    return dict(json.loads(upstream_request(openai, model=model, drop=drop).content))


def upstream_request(
    openai: JsonObject, *, model: str = "claude-haiku-4-5", drop: bool = False, stream: bool = False
) -> UpstreamRequest:
    """Return the complete request for `openai`."""
    fields = {"messages": [{"role": "user", "content": "hi"}]} | openai
    run = attempt_run(model=model, stream=stream, drop_unsupported=drop, provider="anthropic", base_url=None)
    return ADAPTER.request(run, json.dumps(fields).encode())


def outcome_of(run: AttemptRun, body: bytes) -> UpstreamRequest | Failure:
    """Return the adapter's request for `body`, or its rejection."""
    try:
        return ADAPTER.request(run, body)
    except RefusedByAdapter as refusal:
        return refusal.failure
