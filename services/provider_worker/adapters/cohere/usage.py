"""Cohere's token counts and finish reasons.

Cohere reports `tokens`, what the model read and wrote, and `billed_units`, what it charges for: a fifth of the tokens
in some recorded calls, because the instructions that Cohere adds to a prompt are free. The token usage and the caller's
usage object hold `tokens`, which limits, context windows and other providers count; `billed_units` is passed on inside
the usage object. `cached_tokens` is part of the input tokens, `reasoning_tokens` of the output tokens.
"""

from collections.abc import Mapping

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.openai_format.usage import NO_USAGE, TranslatedUsage, build_usage
from services.provider_worker.adapters.response.json_text import as_object
from services.provider_worker.adapters.response.token_usage import token_count

_FINISH: Mapping[str, str] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
"""Source: Cohere's API reference, "Chat", `finish_reason`."""


def openai_finish_reason(reason: object, *, calls_tools: bool) -> str:
    """Return OpenAI's finish reason. An unknown one means that the model ended by itself."""
    known = _FINISH.get(reason) if isinstance(reason, str) else None
    if known == "length":
        return known
    return "tool_calls" if calls_tools else "stop"


def read_usage(usage: object) -> TranslatedUsage:
    """Read the `usage` of an answer."""
    if not isinstance(usage, dict):
        return NO_USAGE
    billed, tokens = as_object(usage.get("billed_units")), as_object(usage.get("tokens"))
    counts = tokens if token_count(tokens.get("input_tokens")) is not None or "output_tokens" in tokens else billed
    prompt, completion = token_count(counts.get("input_tokens")), token_count(counts.get("output_tokens"))
    if prompt is None and completion is None:
        return NO_USAGE
    prompt, completion = prompt or 0, completion or 0
    cached, reasoning = token_count(usage.get("cached_tokens")), token_count(tokens.get("reasoning_tokens"))
    read, thought = min(cached or 0, prompt), min(reasoning or 0, completion)
    token_usage = TokenUsage(input=prompt - read, cached_read=read, output=completion - thought, reasoning=thought)
    openai = build_usage(token_usage, cached=cached, reasoning=reasoning)
    return TranslatedUsage(token_usage, openai | ({"billed_units": billed} if billed else {}))
