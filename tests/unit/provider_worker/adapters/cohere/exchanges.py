"""Requests and hand-made answers of Cohere for tests."""

import json

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Answer, UpstreamRequest
from services.provider_worker.adapters.cohere.adapter import CohereAdapter
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]

ADAPTER = CohereAdapter()
HELLO: list[JsonObject] = [{"role": "user", "content": "Hello"}]
DONE = b"data: [DONE]\n\n"


def cohere_run(
    *, stream: bool = False, embedding: bool = False, drop: bool = False, include_usage: bool = True
) -> AttemptRun:
    """An attempt at Cohere."""
    run = attempt_run(stream=stream, include_usage=include_usage, model="command-a-03-2025", base_url=None)
    kind = RequestKind.EMBEDDING if embedding else RequestKind.CHAT
    return run.model_copy(update={"drop_unsupported": drop, "kind": kind})


def sent_body(run: AttemptRun | None = None, /, **fields: object) -> JsonObject:
    """The body that goes to Cohere for a caller's body with these fields; `messages` default to a greeting."""
    request = ADAPTER.request(run or cohere_run(), json.dumps({"messages": HELLO} | fields).encode())
    document = json.loads(request.content)
    assert isinstance(document, dict)
    return document


def event(kind: str, **fields: object) -> bytes:
    """One event as Cohere writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | fields)}\n\n".encode()


def piece(kind: str, index: int = 0, **message: object) -> bytes:
    """An event whose delta holds a message with these fields."""
    return event(kind, index=index, delta={"message": message})


def message_end(reason: str = "COMPLETE", **fields: object) -> bytes:
    """The last event."""
    usage = {"billed_units": {"input_tokens": 2, "output_tokens": 2}, "tokens": {"input_tokens": 9, "output_tokens": 2}}
    return event("message-end", delta={"finish_reason": reason, "usage": usage} | fields)


START = event("message-start", id="answer-1", delta={"message": {"role": "assistant", "content": []}})


def read(
    *pieces: bytes, run: AttemptRun | None = None, status: int = 200, headers: dict[str, str] | None = None
) -> tuple[list[JsonObject], Answer]:
    """The chunks and the answer of a response that comes in these pieces; a stream by default."""
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = ADAPTER.reader(run or cohere_run(stream=True), request, status, headers or {})
    chunks = [chunk for one in pieces for chunk in reader.feed(one)]
    return [json.loads(chunk) for chunk in chunks], reader.close()


def read_complete(document: object) -> Answer:
    """The answer of a response that is not streamed."""
    return read(json.dumps(document).encode(), run=cohere_run())[1]


def deltas(chunks: list[JsonObject]) -> list[JsonObject]:
    """The deltas of all chunks that have one."""
    found: list[JsonObject] = []
    for chunk in chunks:
        choices = chunk["choices"]
        assert isinstance(choices, list)
        found += [choice["delta"] for choice in choices]
    return found
