"""Cohere's token counts and finish reasons.

Cohere reports `tokens`, what the model read and wrote, and `billed_units`, what it charges for: a fifth of the tokens
in some recorded calls, because the instructions that Cohere adds to a prompt are free. The token usage and the caller's
usage object hold `tokens`, which limits, context windows and other providers count; `billed_units` is passed on inside
the usage object. `cached_tokens` is part of the input tokens, `reasoning_tokens` of the output tokens.
"""

from collections.abc import Mapping

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.openai_format.usage import NO_USAGE, TranslatedUsage, translated_usage
from services.provider_worker.adapters.response.json_text import as_object
from services.provider_worker.adapters.response.usage_counts import CountReader
from services.provider_worker.adapters.usage_report import RemainingTokens, UsageReport

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
    counts = CountReader()
    source = tokens if "input_tokens" in tokens or "output_tokens" in tokens else billed
    prompt, completion = counts.read(source, "input_tokens"), counts.read(source, "output_tokens")
    cached, reasoning = counts.read(usage, "cached_tokens"), counts.read(tokens, "reasoning_tokens")
    prompts = RemainingTokens((cached or 0) if prompt is None else prompt)
    completions = RemainingTokens((reasoning or 0) if completion is None else completion)
    read, thought = prompts.take(cached or 0), completions.take(reasoning or 0)
    token_usage = TokenUsage(input=prompts.rest, cached_read=read, output=completions.rest, reasoning=thought)
    report = UsageReport(token_usage, prompt is not None, completion is not None, counts.implausible)
    translated = translated_usage(report, cached=cached, reasoning=reasoning)
    if translated.openai is None or not billed:
        return translated
    return TranslatedUsage(report, translated.openai | {"billed_units": billed})
