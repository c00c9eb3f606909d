"""Reads Cohere's non-streamed answers.

Source of the shapes: Cohere's API reference, "Chat" of API v2, responses.
"""

import math
from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.cohere.conversation import THINKING, TOOL_PLAN, reasoning_detail
from services.provider_worker.adapters.cohere.errors import failure_of_document, failure_of_finish_reason
from services.provider_worker.adapters.cohere.usage import openai_finish_reason, read_usage
from services.provider_worker.adapters.openai_format.completion import build_completion, build_envelope
from services.provider_worker.adapters.response.arguments import first_object
from services.provider_worker.adapters.response.errors import (
    EMPTY_RESPONSE,
    RESPONSE_TOO_DEEP,
    failure_of_invalid_body,
    invalid_response,
)
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
    parse_leading_object,
    render,
)


def read_completion(run: AttemptRun, headers: Mapping[str, str], content: bytes) -> Answer:
    """Return the result of a non-streamed `v2/chat` response."""
    document = parse_leading_object(content)
    if document is None:
        return Answer(failure=failure_of_invalid_body(content))
    reason = document.get("finish_reason")
    usage = read_usage(document.get("usage"))
    failure = failure_of_finish_reason(reason, document, Where.HTTP_200_BODY)
    if failure is None and not isinstance(document.get("message"), dict) and not reason:
        failure = failure_of_document(document, Where.HTTP_200_BODY) or invalid_response(EMPTY_RESPONSE)
    if failure is not None:
        return Answer(failure=failure, usage=usage.report)
    message = _build_message(run, as_object(document.get("message")))
    finish_reason = openai_finish_reason(reason, calls_tools="tool_calls" in message)
    around = build_envelope(run, headers, as_text(document.get("id")), "chat.completion")
    around |= {} if usage.openai is None else {"usage": usage.openai}
    try:
        body = render(build_completion(around, message, finish_reason, openai_logprobs(document.get("logprobs"))))
    except ValueError:
        return Answer(failure=invalid_response(RESPONSE_TOO_DEEP))
    return Answer(body=body, finish_reason=finish_reason, usage=usage.report)


def _build_message(run: AttemptRun, source: JsonObject) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    text: list[str] = []
    details: list[JsonObject] = []
    others: list[JsonObject] = []
    plan = as_text(source.get("tool_plan"))
    if plan:
        details.append(reasoning_detail(TOOL_PLAN, 0, plan))
    content = source.get("content")
    parts: list[JsonObject] = [{"type": "text", "text": content}] if isinstance(content, str) else as_objects(content)
    for part in parts:
        if part.get("type") == "thinking":
            details.append(reasoning_detail(THINKING, len(details), as_text(part.get("thinking"))))
        elif isinstance(part.get("text"), str):
            text.append(as_text(part["text"]))
        else:
            others.append(part)
    calls = [
        build_call(call, f"call_{run.attempt_id}_{at}") for at, call in enumerate(as_objects(source.get("tool_calls")))
    ]
    message["content"] = "".join(text) if text or not calls else None
    reasoning = "".join(as_text(entry["text"]) for entry in details)
    message |= {"reasoning_content": reasoning} if reasoning else {}
    lists = {
        "reasoning_details": details if reasoning else [],
        "tool_calls": calls,
        "citations": as_objects(source.get("citations")),
        "content_parts": others,
    }
    return message | {name: entries for name, entries in lists.items() if entries}


def build_call(call: JsonObject, made_id: str) -> JsonObject:
    """Build a complete tool call in OpenAI's form; a call without arguments gets the empty object."""
    function = as_object(call.get("function"))
    made = {
        "name": as_text(function.get("name")),
        "arguments": first_object(as_text(function.get("arguments"))) or "{}",
    }
    return {"id": as_text(call.get("id")) or made_id, "type": "function", "function": made}


def openai_logprobs(reported: object) -> JsonObject | None:
    """Return Cohere's log probabilities in OpenAI's form, or null if there are none.

    Cohere gives the tokens of a chunk of text one log probability each, but no text of their own: a chunk of several
    tokens gets their sum, the log probability of the chunk.
    """
    entries: list[JsonObject] = []
    for item in as_objects(reported):
        values = item.get("logprobs")
        numbers = [value for value in values if isinstance(value, int | float)] if isinstance(values, list) else []
        text = as_text(item.get("text"))
        if not numbers:
            continue
        total = math.fsum(max(min(float(number), 0.0), -9999.0) for number in numbers if -1e300 < number < 1e300)
        raw = list(text.encode("utf-8", "replace"))
        entries.append({"token": text, "logprob": total, "bytes": raw, "top_logprobs": []})
    return {"content": entries, "refusal": None} if entries else None
