"""Restores Anthropic's content blocks from an assistant's earlier message.

Thinking has to come back unmodified, with its signature, or the API rejects the turn after a tool call. It travels in
`reasoning_details` (the shape OpenRouter introduced: `reasoning.text` with `text` and `signature`,
`reasoning.encrypted` with `data`), so a conversation may switch between that gateway and this one. Answers whose order
OpenAI's message cannot hold (server tools, citations, thinking between texts) carry all blocks in `content_parts`, and
those are sent back unchanged.
"""

import re

from services.provider_worker.adapters.anthropic.content import ContentTranslator
from services.provider_worker.adapters.anthropic.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
    parse_object,
)

REASONING_FORMAT = "anthropic-claude-v1"
"""The `format` that marks reasoning details as Claude's; those of other models cannot be sent back."""

_OWN_BLOCK = re.compile(r"text|thinking|redacted_thinking|tool_use|server_tool_use|container_upload|\w+_tool_result")


def assistant_blocks(message: JsonObject, field: str, unsupported: UnsupportedFields) -> list[JsonObject]:
    """Return the blocks of an assistant's message found at `field`. Raises RefusedByAdapter.

    Unknown fields are echoed parts of an answer and are ignored.
    """
    for name in ("audio", "function_call", "name"):
        if message.get(name):
            unsupported.drop_or_reject(f"{field}.{name}", f"Anthropic has no `{name}` in messages.")
    texts = ContentTranslator(unsupported).translate(message.get("content"), f"{field}.content", text_only=True)
    if as_text(message.get("refusal")).strip():
        texts.append({"type": "text", "text": message["refusal"]})
    calls = [
        _build_tool_use(call, f"{field}.tool_calls[{position}]")
        for position, call in enumerate(as_objects(message.get("tool_calls")))
    ]
    original = _original_blocks(as_objects(message.get("content_parts")), texts, calls)
    if original:
        return original
    return [*_restore_thinking(as_objects(message.get("reasoning_details"))), *texts, *calls]


def _build_tool_use(call: JsonObject, field: str) -> JsonObject:
    function = as_object(call.get("function"))
    name, arguments = as_text(function.get("name")), function.get("arguments")
    if not name:
        raise bad_field(f"{field}.function.name", "Anthropic knows calls of functions only, each with a name.")
    if isinstance(arguments, str) and arguments.strip():
        arguments = parse_object(arguments.encode("utf-8", "replace"))
    elif not isinstance(arguments, dict):
        arguments = {}
    if arguments is None:
        at = f"{field}.function.arguments"
        raise bad_field(at, f"`{at}` is not a JSON object; Anthropic takes arguments only as one.")
    block: JsonObject = {
        "type": "tool_use",
        "id": as_text(call.get("id")),
        "name": name,
        "input": arguments,
    }
    if call.get("cache_control") is not None:
        block["cache_control"] = call["cache_control"]
    return block


def _original_blocks(parts: list[JsonObject], texts: list[JsonObject], calls: list[JsonObject]) -> list[JsonObject]:
    """Return `parts` if they are Claude's blocks and match the message: a caller may have edited it since."""
    if not parts or not all(_OWN_BLOCK.fullmatch(as_text(part.get("type"))) for part in parts):
        return []
    text = "".join(as_text(part.get("text")) for part in parts if part["type"] == "text")
    called = [as_text(part.get("id")) for part in parts if part["type"] == "tool_use"]
    same = text == "".join(as_text(block["text"]) for block in texts) and called == [call["id"] for call in calls]
    return parts if same else []


def _restore_thinking(details: list[JsonObject]) -> list[JsonObject]:
    """Return the thinking in `details`; those without a signature, or of another model, are left out."""
    blocks: list[JsonObject] = []
    for detail in _join_details(details):
        kind = detail.get("type")
        if kind in ("reasoning.text", "thinking") and as_text(detail.get("signature")):
            text = as_text(detail.get("text")) or as_text(detail.get("thinking"))
            blocks.append({"type": "thinking", "thinking": text, "signature": detail["signature"]})
        elif kind in ("reasoning.encrypted", "redacted_thinking") and as_text(detail.get("data")):
            blocks.append({"type": "redacted_thinking", "data": detail["data"]})
    return blocks


def _join_details(details: list[JsonObject]) -> list[JsonObject]:
    """Return Claude's details; pieces of one, as some callers collect them from a stream, are joined by their index."""
    joined: list[JsonObject] = []
    by_index: dict[object, JsonObject] = {}
    for detail in details:
        if detail.get("format") not in (None, REASONING_FORMAT):
            continue
        index, kind = detail.get("index"), detail.get("type")
        before = by_index.get((index, kind)) if isinstance(index, int) else None
        if before is None or before.get("signature"):
            before = dict(detail)
            joined.append(before)
            if isinstance(index, int):
                by_index[index, kind] = before
            continue
        for name in ("text", "thinking", "signature", "data"):
            if as_text(detail.get(name)):
                before[name] = as_text(before.get(name)) + as_text(detail[name])
    return joined
