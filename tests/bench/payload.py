"""The fixed bodies of the benchmark: a request of about 1 KB, its answer, and a stream of 50 chunks."""

import json

PLAIN_MODEL = "bench-plain"
STREAM_MODEL = "bench-stream"
FIRST_DELTA_TEXT = " alpha"
"""Text of the first delta, and of no other, so that a probe finds it regardless of framing."""

CHUNKS = 50
PROMPT_TOKENS = 200
COMPLETION_TOKENS = 50
DONE = b"data: [DONE]\n\n"
_FILLER_SENTENCE = "A benchmark repeats one sentence until the body has the size it is meant to have. "
_CREATED_UNIX_SECONDS = 1_700_000_000


def request_body(model: str, stream: bool) -> bytes:
    """Return a chat completion request of about 1 KB (`POST /v1/chat/completions` of the OpenAI API)."""
    body: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "Answer in one short paragraph."},
            {"role": "user", "content": _FILLER_SENTENCE * 10},
        ],
        "max_tokens": COMPLETION_TOKENS,
        "temperature": 0.2,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


def plain_answer() -> bytes:
    """Return a `chat.completion` object of about 1 KB."""
    return json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": _CREATED_UNIX_SECONDS,
            "model": PLAIN_MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": _FILLER_SENTENCE * 8},
                    "finish_reason": "stop",
                }
            ],
            "usage": _usage(),
        }
    ).encode()


def stream_answer() -> bytes:
    """Return a server-sent event body: 50 `chat.completion.chunk` deltas, a finish, the usage, then `[DONE]`."""
    events = [_chunk({"content": FIRST_DELTA_TEXT, "role": "assistant"})]
    events += [_chunk({"content": f" tok{number:02}"}) for number in range(1, CHUNKS)]
    events += [_chunk({}, finish_reason="stop"), {**_chunk({}), "choices": [], "usage": _usage()}]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + DONE


def model_list() -> bytes:
    """Return the answer of `GET /v1/models`, which a gateway may request when an endpoint is registered."""
    models = [{"id": name, "object": "model", "owned_by": "bench"} for name in (PLAIN_MODEL, STREAM_MODEL)]
    return json.dumps({"object": "list", "data": models}).encode()


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": _CREATED_UNIX_SECONDS,
        "model": STREAM_MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def _usage() -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
