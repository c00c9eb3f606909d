"""Reads Bedrock's non-streamed answers.

Source of the shape: the AWS API reference, "Converse", response. A Converse response is always complete; text that
cites sources is inside `citationsContent`.
"""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.bedrock.errors import failure_of_document
from services.provider_worker.adapters.bedrock.reasoning import encrypted_detail, text_detail
from services.provider_worker.adapters.bedrock.usage import MALFORMED, openai_finish_reason, read_usage
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

SERVER_TOOL = "server_tool_use"
"""The `type` of calls that Bedrock makes itself: the caller has nothing to answer to them."""


def read_completion(run: AttemptRun, headers: Mapping[str, str], content: bytes) -> Answer:
    """Return the result of a Converse response."""
    document = parse_leading_object(content)
    if document is None:
        return Answer(failure=failure_of_invalid_body(content))
    reason = as_text(document.get("stopReason"))
    usage = read_usage(document.get("usage"))
    message = as_object(as_object(document.get("output")).get("message"))
    failure = None
    if not message and not reason:
        failure = failure_of_document(document, Where.HTTP_200_BODY) or invalid_response(EMPTY_RESPONSE)
    elif reason in MALFORMED:
        failure = invalid_response(f"The provider failed: its stop reason is {reason!r}.")
    if failure is not None:
        return Answer(failure=failure, usage=usage.report)
    built = _build_message(run, as_objects(message.get("content")))
    finish_reason = openai_finish_reason(reason, calls_tools="tool_calls" in built)
    around = build_envelope(run, headers, headers.get("x-amzn-requestid", ""), "chat.completion")
    around |= {} if usage.openai is None else {"usage": usage.openai}
    tier = service_tier(document)
    around |= extra_fields(document) | ({} if tier is None else {"service_tier": tier})
    try:
        body = render(build_completion(around, built, finish_reason))
    except ValueError:
        return Answer(failure=invalid_response(RESPONSE_TOO_DEEP))
    return Answer(
        body=body,
        finish_reason=finish_reason,
        model_served=invoked_model(document),
        service_tier=tier,
        usage=usage.report,
    )


def service_tier(document: JsonObject) -> str | None:
    """Return the processing tier that a response or a stream's metadata names."""
    return as_text(as_object(document.get("serviceTier")).get("type")) or None


def invoked_model(document: JsonObject) -> str | None:
    """Return the model that a prompt router chose; Bedrock names none otherwise."""
    router = as_object(as_object(document.get("trace")).get("promptRouter"))
    return as_text(router.get("invokedModelId")) or None


def extra_fields(document: JsonObject) -> JsonObject:
    """Return what the caller requested beside the answer: the guardrail's trace, and fields of the model's own."""
    names = ("trace", "additionalModelResponseFields")
    return {name: document[name] for name in names if document.get(name)}


def render_arguments(value: object) -> str:
    """Render a tool's input as the text of a JSON object. Raises ValueError if it is nested too deeply."""
    if isinstance(value, dict):
        return render(value).decode()
    return first_object(value) if isinstance(value, str) and value.strip() else "{}"


def _build_message(run: AttemptRun, blocks: list[JsonObject]) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    text: list[str] = []
    reasoning: list[str] = []
    details: list[JsonObject] = []
    calls: list[JsonObject] = []
    citations: list[JsonObject] = []
    others: list[JsonObject] = []
    for block in blocks:
        use = as_object(block.get("toolUse"))
        if isinstance(block.get("text"), str):
            text.append(str(block["text"]))
        elif isinstance(block.get("reasoningContent"), dict):
            _add_reasoning(run.model, as_object(block["reasoningContent"]), reasoning, details)
        elif use and use.get("type") != SERVER_TOOL:
            calls.append(_build_call(use, f"call_{run.attempt_id}_{len(calls)}"))
        elif isinstance(block.get("citationsContent"), dict):
            cited = as_object(block["citationsContent"])
            text += [as_text(part.get("text")) for part in as_objects(cited.get("content"))]
            citations += as_objects(cited.get("citations"))
        else:
            others.append(block)
    message["content"] = "".join(text) if text or not calls else None
    lists = {"reasoning_details": details, "tool_calls": calls, "citations": citations, "content_parts": others}
    message |= {"reasoning_content": "".join(reasoning)} if reasoning else {}
    return message | {name: entries for name, entries in lists.items() if entries}


def _add_reasoning(model: str, block: JsonObject, reasoning: list[str], details: list[JsonObject]) -> None:
    source = as_object(block.get("reasoningText"))
    text, signature, redacted = (
        as_text(source.get("text")),
        as_text(source.get("signature")),
        block.get("redactedContent"),
    )
    if text:
        reasoning.append(text)
    if signature:
        details.append(text_detail(model, len(details), text, signature))
    if isinstance(redacted, str) and redacted:
        details.append(encrypted_detail(model, len(details), redacted))


def _build_call(use: JsonObject, made_id: str) -> JsonObject:
    try:
        arguments = render_arguments(use.get("input"))
    except ValueError:
        arguments = "{}"
    function = {"name": as_text(use.get("name")), "arguments": arguments}
    return {"id": as_text(use.get("toolUseId")) or made_id, "type": "function", "function": function}
