"""Bedrock's token counts and stop reasons.

`inputTokens` leaves out what was read from and written to the prompt cache: in recorded traffic `totalTokens` is the
sum of all four counts. Each cache count comes under two names (`…Tokens` and `…TokenCount`) with the same value.
Reasoning tokens are inside `outputTokens` and not reported separately.
"""

from collections.abc import Mapping

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.openai_format.usage import NO_USAGE, TranslatedUsage, build_usage
from services.provider_worker.adapters.response.json_text import JsonObject, as_objects
from services.provider_worker.adapters.response.token_usage import token_count

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
    prompt, completion = token_count(usage.get("inputTokens")), token_count(usage.get("outputTokens"))
    if prompt is None and completion is None:
        return NO_USAGE
    prompt, completion = prompt or 0, completion or 0
    read, write = _cache_count(usage, "Read"), _cache_count(usage, "Write")
    cached = (read or 0) + (write or 0)
    total = token_count(usage.get("totalTokens"))
    if total is not None and cached and total == prompt + completion and cached <= prompt:
        # The total proves that this model counts its cache inside the input.
        prompt -= cached
    hour = min(_one_hour_cache_writes(usage), write or 0)
    token_usage = TokenUsage(
        input=prompt,
        cached_read=read or 0,
        cache_write=(write or 0) - hour,
        cache_write_1h=hour,
        output=completion,
    )
    return TranslatedUsage(token_usage, build_usage(token_usage, cached=read, cache_write=write))


def _cache_count(usage: JsonObject, which: str) -> int | None:
    tokens = token_count(usage.get(f"cache{which}InputTokens"))
    return token_count(usage.get(f"cache{which}InputTokenCount")) if tokens is None else tokens


def _one_hour_cache_writes(usage: JsonObject) -> int:
    details = as_objects(usage.get("cacheDetails"))
    return sum(token_count(entry.get("inputTokens")) or 0 for entry in details if entry.get("ttl") == "1h")
