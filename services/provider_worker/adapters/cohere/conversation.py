"""Translates the caller's messages to Cohere's, with the reasoning that a follow-up turn repeats.

Cohere reasons in two places: a `tool_plan` before tool calls, and `thinking` parts of the content. OpenAI's message has
no place for either, so both reach the caller as `reasoning_content`, and also, apart, in the extra field
`reasoning_details`: `{"type": "reasoning.text", "format", "index", "text"}`, whose `format` distinguishes the two. A
caller echoes the message unchanged, and Cohere gets its own reasoning back. Source of the shapes: Cohere's API
reference, "Chat".
"""

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.openai_format.messages import (
    read_messages,
    read_parts,
    read_reasoning_details,
    read_text,
    read_tool_calls,
)
from services.provider_worker.adapters.openai_format.placeholders import EMPTY_MESSAGE, EMPTY_RESULT
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

THINKING = "cohere-thinking-v1"
TOOL_PLAN = "cohere-tool-plan-v1"
_FORMATS = frozenset({THINKING, TOOL_PLAN})


def reasoning_detail(form: str, index: int, text: str) -> JsonObject:
    """Build one entry of `reasoning_details`; `form` is THINKING or TOOL_PLAN."""
    return {"index": index, "type": "reasoning.text", "format": form, "text": text}


def translate_messages(fields: CallerFields) -> list[JsonObject]:
    """Translate the messages. Raises RefusedByAdapter for what cannot be translated."""
    translated: list[JsonObject] = []
    for path, message in read_messages(fields):
        role = message["role"]
        if role in ("system", "developer"):
            content = _translate_texts(path, message.get("content"))
            if content:
                translated.append({"role": "system", "content": content})
        elif role == "assistant":
            turn = _translate_assistant(path, message)
            if turn.keys() > {"role"}:
                translated.append(turn)
        elif role == "tool":
            translated.append(_translate_result(path, message))
        else:
            translated.append({"role": "user", "content": _translate_user(path, message.get("content"))})
    if all(message["role"] == "system" or message["content"] == EMPTY_MESSAGE for message in translated):
        raise bad_request("`messages` must hold a message that is not empty, beside the system's.", "messages")
    return translated


def _translate_user(path: str, content: object) -> object:
    """Return the content; Cohere wants at least one token of every message."""
    if content is None or isinstance(content, str):
        return content if content and content.strip() else EMPTY_MESSAGE
    parts: list[JsonObject] = []
    for place, kind, part in read_parts(path, content):
        if kind == "text":
            if as_text(part.get("text")).strip():
                parts.append({"type": "text", "text": as_text(part.get("text"))})
        elif kind == "image_url":
            parts.append({"type": "image_url", "image_url": _translate_image(place, part)})
        else:
            raise bad_request(f"Cohere does not support content parts of this type: `{place}.type`.", f"{place}.type")
    return parts or EMPTY_MESSAGE


def _translate_image(place: str, part: JsonObject) -> JsonObject:
    value = part.get("image_url")
    image = as_object(value) or {"url": value}
    if not as_text(image.get("url")):
        raise bad_request(f"`{place}.image_url.url` must be an `https:` or `data:` URL.", f"{place}.image_url.url")
    known = {name: image[name] for name in ("url", "detail") if image.get(name) is not None}
    return dict(known)


def _translate_assistant(path: str, message: JsonObject) -> JsonObject:
    text = read_text(path, message.get("content")) + as_text(message.get("refusal"))
    calls = read_tool_calls(path, message)
    details = read_reasoning_details(message, _FORMATS)
    thinking = [as_text(entry.get("text")) for entry in details if entry.get("format") == THINKING]
    plan = "".join(as_text(entry.get("text")) for entry in details if entry.get("format") == TOOL_PLAN)
    if calls and not details and not message.get("reasoning_details"):
        # A client that keeps only the reasoning text has kept the plan that led to these calls.
        plan = as_text(message.get("reasoning_content"))
    translated: JsonObject = {"role": "assistant"}
    parts: list[JsonObject] = [{"type": "thinking", "thinking": thought} for thought in thinking if thought]
    if parts:
        translated["content"] = parts + ([{"type": "text", "text": text}] if text.strip() else [])
    elif text.strip():
        translated["content"] = text
    if plan:
        translated["tool_plan"] = plan
    if calls:
        translated["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
            for call in calls
        ]
    return translated


def _translate_result(path: str, message: JsonObject) -> JsonObject:
    call_id = as_text(message.get("tool_call_id"))
    if not call_id:
        raise bad_request(f"`{path}.tool_call_id` must name the call that this answers.", f"{path}.tool_call_id")
    content = _translate_texts(path, message.get("content"))
    return {"role": "tool", "tool_call_id": call_id, "content": content or EMPTY_RESULT}


def _translate_texts(path: str, content: object) -> object:
    """Return a content that must be text, its parts apart as the caller has them; empty if it is blank."""
    if not isinstance(content, list):
        text = read_text(path, content)
        return text if text.strip() else ""
    texts: list[str] = []
    for place, kind, part in read_parts(path, content):
        if kind not in ("text", "refusal"):
            raise bad_request(f"`{place}` must be a text part.", place)
        texts.append(as_text(part.get(kind)))
    return [{"type": "text", "text": text} for text in texts if text.strip()]
