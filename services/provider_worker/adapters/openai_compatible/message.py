"""Repairs text and reasoning of a message or a delta, in the fields that clients read.

`content` is a string; Mistral's list of parts is split. Reasoning is `reasoning_content`, the field DeepSeek introduced
and most clients read; OpenRouter, Groq and vLLM call it `reasoning`, which is kept beside it.
"""

from services.provider_worker.adapters.response.json_text import JsonObject, as_text

_ROLES = ("assistant", None)


def repair_message(message: JsonObject) -> bool:
    """Repair content and reasoning in place; return whether anything changed."""
    changed = False
    if "role" in message and message["role"] not in _ROLES:
        # `role` is a closed set in which answers have one value; servers send an empty text where they mean none.
        message["role"] = "assistant"
        changed = True
    if "tool_calls" in message and not isinstance(message["tool_calls"], dict | list | None):
        del message["tool_calls"]
        changed = True
    content = message.get("content")
    if isinstance(content, list):
        _split_parts(message, content)
        changed = True
    reasoning = message.get("reasoning")
    if isinstance(reasoning, str) and reasoning and not message.get("reasoning_content"):
        message["reasoning_content"] = reasoning
        changed = True
    return changed


def has_output(message: JsonObject) -> bool:
    """Return whether a message or delta holds any output: text, refusal, reasoning, tool calls, audio; anything but a role."""
    return any(value for name, value in message.items() if name != "role")


def _split_parts(message: JsonObject, parts: list[object]) -> None:
    text: list[str] = []
    reasoning: list[str] = []
    others: list[object] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict) and kind == "text":
            text.append(as_text(part.get("text")))
        elif isinstance(part, dict) and kind == "thinking":
            reasoning.append(_thinking_text(part.get("thinking")))
        else:
            others.append(part)
    message["content"] = "".join(text) or None
    if reasoning:
        message["reasoning_content"] = as_text(message.get("reasoning_content")) + "".join(reasoning)
    if others:
        # Parts that OpenAI's shape has no place for (citations, images) are not dropped silently.
        message["content_parts"] = others


def _thinking_text(value: object) -> str:
    if isinstance(value, list):
        return "".join(as_text(part.get("text")) for part in value if isinstance(part, dict))
    return as_text(value)
