"""Bedrock's token counts and stop reasons.

`inputTokens` leaves out what was read from and written to the prompt cache: in recorded traffic `totalTokens` is the
sum of all four counts; where it is less, they overlap. Each cache count comes under two names (`…Tokens` and
`…TokenCount`) with the same value.
Reasoning tokens are inside `outputTokens` and not reported separately.
"""

from collections.abc import Mapping

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.openai_format.usage import NO_USAGE, TranslatedUsage, translated_usage
from services.provider_worker.adapters.response.json_text import JsonObject, as_objects
from services.provider_worker.adapters.response.usage_counts import CountReader
from services.provider_worker.adapters.usage_report import RemainingTokens, UsageReport

_FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""Source: the AWS API reference, ConverseResponse `stopReason`."""
MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Stop reasons of unusable model output."""


def openai_finish_reason(reason: str, *, calls_tools: bool) -> str:
    """Return OpenAI's finish reason. An unknown one means that the model ended by itself."""
    known = _FINISH.get(reason)
    if known in ("length", "content_filter"):
        return known
    return "tool_calls" if calls_tools else "stop"


def read_usage(usage: object) -> TranslatedUsage:
    """Read the `usage` of a response, or of a stream's metadata."""
    if not isinstance(usage, dict):
        return NO_USAGE
    counts = CountReader()
    prompt, completion = counts.read(usage, "inputTokens"), counts.read(usage, "outputTokens")
    read = counts.read(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
    write = counts.read(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    total = counts.read(usage, "totalTokens")
    hour = min(_one_hour_cache_writes(counts, usage), write or 0)
    parts = TokenUsage(
        input=prompt or 0,
        cached_read=read or 0,
        cache_write=(write or 0) - hour,
        cache_write_1h=hour,
        output=completion or 0,
    )
    if total is not None and prompt is not None and completion is not None:
        parts = _fit_total(parts, max(total, prompt + completion))
    report = UsageReport(parts, prompt is not None, completion is not None, counts.implausible)
    return translated_usage(report, cached=read, cache_write=write)


def _fit_total(parts: TokenUsage, total: int) -> TokenUsage:
    """Return `parts` so that they add up to no more than `total`.

    A smaller total proves that the model counts its cache inside the input, or the same tokens as read and written.
    """
    prompt = RemainingTokens(total - parts.output)
    read, hour, write = (prompt.take(count) for count in (parts.cached_read, parts.cache_write_1h, parts.cache_write))
    return TokenUsage(
        input=prompt.take(parts.input), cached_read=read, cache_write=write, cache_write_1h=hour, output=parts.output
    )


def _one_hour_cache_writes(counts: CountReader, usage: JsonObject) -> int:
    details = as_objects(usage.get("cacheDetails"))
    return sum(counts.read(entry, "inputTokens") or 0 for entry in details if entry.get("ttl") == "1h")
