"""Passes on a whole answer that came in place of a stream: servers that cannot stream, or not with tools, answer so. Pure."""

from dataclasses import replace

from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.errors import RESPONSE_TOO_DEEP, invalid_response
from services.provider_worker.adapters.response.json_text import as_object, as_objects, parse_leading_object, render


def as_stream(answer: Answer, *, include_usage: bool) -> Answer:
    """Return a completed answer with its completion as the chunks of a stream. It has been paid for, and is not thrown away.

    Each tool call gets the index that pieces have; the usage has a chunk of its own, if the caller asked for it. An answer
    that is nested too deeply to be written again is a failure.
    """
    document = as_object(parse_leading_object(answer.body))
    for position, choice in enumerate(as_objects(document.get("choices"))):
        choice.setdefault("index", position)
        delta = as_object(choice.pop("message", None))
        choice["delta"] = delta
        for index, call in enumerate(as_objects(delta.get("tool_calls"))):
            call["index"] = index
    usage = document.pop("usage", None)
    document["object"] = "chat.completion.chunk"
    chunks = [document]
    if include_usage and usage:
        chunks.append({**document, "choices": [], "usage": usage})
    try:
        return replace(answer, body=b"", late=tuple(map(render, chunks)))
    except ValueError:
        return replace(answer, failure=invalid_response(RESPONSE_TOO_DEEP), body=b"", finish_reason=None)
