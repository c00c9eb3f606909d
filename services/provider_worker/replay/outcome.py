"""Describes what a caller would have got, as the line that recordings are compared by. Pure."""

import json
from collections.abc import Iterable

from keyferry.contracts.failure import Failure
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.response.errors import coarse_class
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
    parse_object,
)
from services.provider_worker.replay.recording import Recording

_HEAD = 3
"""How many rows, and numbers of each, are shown of embeddings."""


def describe_outcome(recorded: Recording, chunks: Iterable[bytes], answer: Answer) -> JsonObject:
    """Return the line for an answer and, if it was streamed, the chunks before it."""
    line: JsonObject = {"case": recorded.case}
    if answer.failure is not None:
        return {**_empty(), **line, "error": _error(answer.failure)}
    if recorded.kind is RequestKind.EMBEDDING:
        return {**_empty(), **line, **_embeddings(parse_object(answer.body) or {})}
    document = _join_chunks(chunks) if recorded.stream else parse_object(answer.body) or {}
    return {**_empty(), **line, **_completion(document)}


def _empty() -> JsonObject:
    names = ("text", "reasoning_text", "refusal", "choices_text", "finish_reason", "usage", "embeddings", "error")
    return {"case": "", **dict.fromkeys(names), "tool_calls": []}


def _error(failure: Failure) -> JsonObject:
    delay_ms = failure.retry_after_ms
    return {
        "status": failure.status,
        "class": coarse_class(failure.failure_class),
        "where": failure.where.value,
        "retry_after_s": None if delay_ms is None else delay_ms / 1000,
        "message": failure.message,
    }


def _completion(document: JsonObject) -> JsonObject:
    choices = as_objects(document.get("choices"))
    first = choices[0] if choices else {}
    message = as_object(first.get("message"))
    calls = [as_object(call.get("function")) for call in as_objects(message.get("tool_calls"))]
    return {
        "text": message.get("content"),
        "reasoning_text": message.get("reasoning_content"),
        "refusal": message.get("refusal"),
        "choices_text": [as_object(choice.get("message")).get("content") for choice in choices],
        "tool_calls": [
            {"name": call.get("name"), "arguments": _parse_arguments(call.get("arguments"))} for call in calls
        ],
        "finish_reason": first.get("finish_reason"),
        "usage": _usage(as_object(document.get("usage"))),
    }


def _usage(counts: JsonObject) -> JsonObject:
    prompts = as_object(counts.get("prompt_tokens_details"))
    completions = as_object(counts.get("completion_tokens_details"))
    return {
        **{name: counts.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
        "cached_tokens": prompts.get("cached_tokens"),
        "cache_write_tokens": prompts.get("cache_write_tokens"),
        "reasoning_tokens": completions.get("reasoning_tokens"),
    }


def _embeddings(document: JsonObject) -> JsonObject:
    vectors = [row.get("embedding") for row in as_objects(document.get("data"))]
    numbers = [vector for vector in vectors if isinstance(vector, list)]
    usage = {"completion_tokens": 0, **as_object(document.get("usage"))}
    return {
        "embeddings": {
            "count": len(vectors),
            "dim": len(numbers[0]) if numbers else 0,
            "head": [vector[:_HEAD] for vector in numbers[:_HEAD]],
        },
        "usage": _usage(usage),
    }


def _join_chunks(chunks: Iterable[bytes]) -> JsonObject:
    """Assemble the completion of a stream as OpenAI's clients do: strings are joined, tool calls by index."""
    usage: object = None
    choices: dict[object, JsonObject] = {}
    for chunk in map(parse_object, chunks):
        document = chunk or {}
        usage = document.get("usage") or usage
        for piece in as_objects(document.get("choices")):
            choice = choices.setdefault(piece.get("index"), {"message": {}, "calls": {}, "finish_reason": None})
            choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
            _add_delta(choice, dict(as_object(piece.get("delta"))))
    for choice in choices.values():
        calls = as_object(choice["calls"])
        as_object(choice["message"])["tool_calls"] = [{"function": calls[index]} for index in sorted(calls, key=int)]
    return {"choices": [choices[index] for index in sorted(choices, key=str)], "usage": usage}


def _add_delta(choice: JsonObject, delta: JsonObject) -> None:
    calls = as_object(choice["calls"])
    for piece in as_objects(delta.pop("tool_calls", None)):
        _join(calls.setdefault(str(piece.get("index")), {}), as_object(piece.get("function")))
    _join(choice["message"], delta)


def _join(into: object, delta: JsonObject) -> None:
    joined = as_object(into)
    for name, value in delta.items():
        before = joined.get(name)
        joined[name] = before + value if isinstance(before, str) and isinstance(value, str) else before or value


def _parse_arguments(arguments: object) -> object:
    text = as_text(arguments)
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text
