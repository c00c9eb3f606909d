"""Converts Anthropic's content blocks to the message of a chat completion.

OpenAI's message holds text, reasoning and tool calls, each in a field of its own. Beyond them, a message has:

- `reasoning_details`: one object per block of thinking, to be sent back with a follow-up turn: `{"type": "reasoning.text",
  "text", "signature", "format", "index"}` or, if Anthropic hides the thinking, `{"type": "reasoning.encrypted", "data",
  "format", "index"}`. `history.py` restores the blocks from them.
- `annotations`: web citations, in OpenAI's own form.
- `content_parts`: all of Anthropic's blocks, if their order or kind does not fit OpenAI's message: server tools, citations,
  thinking between texts. They are sent back in the same way.
"""

from services.provider_worker.adapters.anthropic.history import REASONING_FORMAT
from services.provider_worker.adapters.response.arguments import first_object
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text, render

THINKING = ("thinking", "redacted_thinking")

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    # Anthropic paused a turn with server tools: not finished, so not `stop`; sent back, it is continued.
    "pause_turn": "length",
    "refusal": "content_filter",
}


def openai_finish_reason(stop_reason: str, *, calls_tools: bool) -> str:
    """Return OpenAI's finish reason for `stop_reason`. `calls_tools` says whether the caller has tool calls to make.

    A `tool_use` without any comes from the tool that formats the answer as JSON, and is a plain end.
    """
    if stop_reason == "tool_use" and not calls_tools:
        return "stop"
    return _FINISH_REASONS.get(stop_reason) or ("tool_calls" if calls_tools else "stop")


def is_cut_short(reason: str) -> bool:
    """Return whether an answer with this finish reason ended before it was complete."""
    return reason not in ("stop", "tool_calls")


def reasoning_detail(block: JsonObject, index: int) -> JsonObject:
    """Build the reasoning detail for a complete block of thinking; `index` counts those blocks."""
    if block.get("type") == "redacted_thinking":
        detail: JsonObject = {"type": "reasoning.encrypted", "data": as_text(block.get("data"))}
    else:
        detail = {"type": "reasoning.text", "text": as_text(block.get("thinking"))}
        detail["signature"] = as_text(block.get("signature"))
    return detail | {"format": REASONING_FORMAT, "index": index}


def extension_fields(blocks: list[JsonObject], json_tool: str | None) -> JsonObject:
    """Return `annotations` and `content_parts` for an answer of these complete blocks, if it needs them."""
    fields: JsonObject = {}
    annotations = _build_annotations(blocks)
    if annotations:
        fields["annotations"] = annotations
    if not _fits_openai_order(blocks) and not any(is_json_answer(block, json_tool) for block in blocks):
        fields["content_parts"] = blocks
    return fields


def is_json_answer(block: JsonObject, json_tool: str | None) -> bool:
    """Return whether `block` is the call of the tool whose arguments are the answer."""
    return json_tool is not None and block.get("type") == "tool_use" and block.get("name") == json_tool


def refusal_text(stop_details: object) -> str | None:
    """Return why the model refused, in Anthropic's words, if it says so."""
    details = as_object(stop_details)
    return as_text(details.get("explanation")) or None if details.get("type") == "refusal" else None


def render_arguments(block: JsonObject) -> str:
    """Render the arguments of a complete tool call as JSON text. Raises ValueError if they are nested too deeply."""
    arguments = block.get("input")
    if isinstance(arguments, str):
        return first_object(arguments)
    return render(as_object(arguments)).decode()


def _fits_openai_order(blocks: list[JsonObject]) -> bool:
    """Return whether the blocks are thinking, then plain texts, then plain tool calls."""
    stage = 0
    for block in blocks:
        place = _order_of(block)
        if place is None or place < stage:
            return False
        stage = place
    return True


def _order_of(block: JsonObject) -> int | None:
    kind = block.get("type")
    if kind in THINKING:
        return 0
    if kind == "text":
        return None if block.get("citations") else 1
    if kind == "tool_use":
        return 2 if as_object(block.get("caller")).get("type") in (None, "direct") else None
    return None


def _build_annotations(blocks: list[JsonObject]) -> list[JsonObject]:
    found: list[JsonObject] = []
    end = 0
    for block in blocks:
        if block.get("type") != "text":
            continue
        start, end = end, end + len(as_text(block.get("text")))
        for citation in as_objects(block.get("citations")):
            if as_text(citation.get("url")):
                place = {"start_index": start, "end_index": end}
                about = {"url": citation["url"], "title": as_text(citation.get("title"))}
                found.append({"type": "url_citation", "url_citation": place | about})
    return found
