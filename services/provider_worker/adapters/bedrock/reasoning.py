"""Converts Bedrock's reasoning blocks to entries of `reasoning_details`, and back.

A reasoning model accepts a follow-up turn only if it repeats the model's reasoning with its signature, or the redacted
block, unchanged. OpenAI's message has no place for either, so they travel in the extra field `reasoning_details`, whose
entries have the shape that OpenRouter documents: `{"type": "reasoning.text", "text", "signature"}` or `{"type":
"reasoning.encrypted", "data"}` (base64), each with its `index` and its `format`. A caller echoes the message unchanged.
"""

from services.provider_worker.adapters.openai_format.messages import read_reasoning_details
from services.provider_worker.adapters.response.json_text import JsonObject, as_text

CLAUDE_FORMAT = "anthropic-claude-v1"
OWN_FORMAT = "amazon-bedrock-v1"
_FORMATS = frozenset({CLAUDE_FORMAT, OWN_FORMAT})


def format_of(model: str) -> str:
    """Return the format of a model's signatures: Claude's are valid at Anthropic and on Bedrock alike."""
    return CLAUDE_FORMAT if "claude" in model else OWN_FORMAT


def text_detail(model: str, index: int, text: str, signature: str) -> JsonObject:
    """Build the entry for a block of reasoning with a signature."""
    return _entry(model, index) | {"type": "reasoning.text", "text": text, "signature": signature}


def encrypted_detail(model: str, index: int, data: str) -> JsonObject:
    """Build the entry for redacted reasoning; `data` is base64."""
    return _entry(model, index) | {"type": "reasoning.encrypted", "data": data}


def reasoning_blocks(message: JsonObject) -> list[JsonObject]:
    """Restore the content blocks from an echoed message's `reasoning_details`."""
    blocks: list[JsonObject] = []
    for entry in read_reasoning_details(message, _FORMATS):
        text, signature, data = (as_text(entry.get(name)) for name in ("text", "signature", "data"))
        if entry.get("type") == "reasoning.encrypted" and data:
            blocks.append({"reasoningContent": {"redactedContent": data}})
        elif entry.get("type") == "reasoning.text" and signature:
            blocks.append({"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}})
    return blocks


def _entry(model: str, index: int) -> JsonObject:
    return {"index": index, "format": format_of(model)}
