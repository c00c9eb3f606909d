"""Reads non-streamed answers of the Messages API."""

from keyferry.contracts.chat import START_WITHIN_MS, AttemptRun
from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.anthropic.blocks import (
    THINKING,
    extension_fields,
    is_json_answer,
    openai_finish_reason,
    reasoning_detail,
    refusal_text,
    render_arguments,
)
from services.provider_worker.adapters.anthropic.errors import failure_of_event
from services.provider_worker.adapters.anthropic.usage import UsageTally
from services.provider_worker.adapters.response.body import ObjectReader
from services.provider_worker.adapters.response.errors import (
    EMPTY_RESPONSE,
    NOT_A_STREAM,
    RESPONSE_TOO_DEEP,
    find_error,
    invalid_response,
)
from services.provider_worker.adapters.response.json_text import JsonObject, as_objects, as_text, parse_object, render


class CompletionReader(ObjectReader):
    """Reads one `message` object. `json_tool` is the tool whose arguments are the answer, if there is one."""

    def __init__(self, run: AttemptRun, json_tool: str | None) -> None:
        self._run = run
        self._json_tool = json_tool
        super().__init__()

    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """Return the completion."""
        failure = _failure_in(document)
        usage = UsageTally()
        usage.take(document.get("usage"))
        reason, body = None, b""
        if failure is None:
            try:
                reason, body = self._completion(document, usage)
            except ValueError:
                failure = invalid_response(RESPONSE_TOO_DEEP)
        return Answer(
            failure=failure,
            body=body,
            finish_reason=reason,
            model_served=as_text(document.get("model")) or None,
            service_tier=usage.service_tier,
            usage=usage.report,
        )

    def _completion(self, document: JsonObject, usage: UsageTally) -> tuple[str, bytes]:
        blocks = as_objects(document.get("content"))
        message = build_message(blocks, self._json_tool, self._run.attempt_id)
        refusal = refusal_text(document.get("stop_details"))
        if refusal is not None:
            message["refusal"] = refusal
        stop_reason = as_text(document.get("stop_reason"))
        reason = openai_finish_reason(stop_reason, calls_tools="tool_calls" in message)
        choice: JsonObject = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": reason,
            "native_finish_reason": stop_reason or None,
        }
        completion = build_envelope(self._run, document, "chat.completion") | {"choices": [choice]}
        counts = usage.openai()
        if counts is not None:
            completion["usage"] = counts
        return reason, render(completion)


def build_message(blocks: list[JsonObject], json_tool: str | None, attempt_id: str) -> JsonObject:
    """Build the assistant's message from these blocks. Raises ValueError if one is nested too deeply."""
    texts: list[str] = []
    thoughts: list[str] = []
    details: list[JsonObject] = []
    calls: list[JsonObject] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            texts.append(as_text(block.get("text")))
        elif kind in THINKING:
            thoughts.append(as_text(block.get("thinking")))
            details.append(reasoning_detail(block, len(details)))
        elif is_json_answer(block, json_tool):
            texts.append(render_arguments(block))
        elif kind == "tool_use":
            function = {"name": as_text(block.get("name")), "arguments": render_arguments(block)}
            call_id = as_text(block.get("id")) or f"call_{attempt_id}_{len(calls)}"
            calls.append({"id": call_id, "type": "function", "function": function})
    message: JsonObject = {"role": "assistant", "content": "".join(texts) or None}
    optional: JsonObject = {"reasoning_content": "".join(thoughts), "reasoning_details": details, "tool_calls": calls}
    message |= {name: value for name, value in optional.items() if value}
    return message | extension_fields(blocks, json_tool)


def build_envelope(run: AttemptRun, document: JsonObject, kind: str) -> JsonObject:
    """Build the leading fields of a completion or chunk.

    Anthropic returns no timestamp; the attempt's own is used for `created`.
    """
    return {
        "id": as_text(document.get("id")) or f"chatcmpl-{run.attempt_id}",
        "object": kind,
        "created": max(run.start_by_unix_ms - START_WITHIN_MS, 0) // 1000,
        "model": as_text(document.get("model")) or run.model,
    }


def failure_of_unstreamed_body(content: bytes) -> Failure:
    """Return the failure of a document received in place of an event stream, under status 200."""
    document = parse_object(content)
    if document is not None and find_error(document) is not None:
        return failure_of_event(document, Where.HTTP_200_BODY)
    return invalid_response(NOT_A_STREAM)


def _failure_in(document: JsonObject) -> Failure | None:
    if document.get("type") == "error" or find_error(document) is not None:
        return failure_of_event(document, Where.HTTP_200_BODY)
    if not as_text(document.get("stop_reason")) and not as_objects(document.get("content")):
        return invalid_response(EMPTY_RESPONSE)
    return None
