"""Hand-made event streams in the shapes of OpenAI-compatible providers, for tests."""

import json

from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.openai_compatible.stream import StreamReader
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]

DONE = b"data: [DONE]\n\n"
USAGE: JsonObject = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def event(document: object) -> bytes:
    """One event whose data is `document`."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def delta(finish_reason: object = None, /, **fields: object) -> bytes:
    """A chunk with one choice."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return event({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": [choice]})


def tool(index: int | None, call_id: str | None, name: str | None, arguments: object) -> bytes:
    """A chunk with one piece of a tool call; null leaves a field out."""
    piece: JsonObject = {} if index is None else {"index": index}
    if call_id is not None:
        piece["id"] = call_id
    function: JsonObject = {} if name is None else {"name": name}
    piece["function"] = function if arguments is None else {**function, "arguments": arguments}
    return delta(None, tool_calls=[piece])


def read(*pieces: bytes, include_usage: bool = False) -> tuple[list[JsonObject], Answer]:
    """The chunks and the answer of a stream that is fed in these pieces."""
    chunks, answer = read_bytes(*pieces, include_usage=include_usage)
    return [json.loads(chunk) for chunk in chunks], answer


def read_bytes(*pieces: bytes, include_usage: bool = False) -> tuple[list[bytes], Answer]:
    """The same, with the chunks as they go out."""
    reader = StreamReader(attempt_run(stream=True, include_usage=include_usage), {})
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks, reader.close()
