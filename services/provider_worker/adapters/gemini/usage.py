"""Splits Gemini's `usageMetadata` into disjoint token counts.

Google's rules (API reference, `UsageMetadata`): `promptTokenCount` includes the cached tokens;
`toolUsePromptTokenCount` is what built-in tools added to the prompt and `thoughtsTokenCount` the thinking, both outside
the other counts; `totalTokenCount` is the sum. A count of zero is left out.
"""

from dataclasses import dataclass

from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text
from services.provider_worker.adapters.response.token_usage import RemainingTokens, token_count

_TIERS = {"flex": "flex", "priority": "priority", "on_demand_flex": "flex", "on_demand_priority": "priority"}
"""`serviceTier` (AI Studio) and `trafficType` (Vertex) values that prices depend on."""


@dataclass(frozen=True, slots=True)
class GeminiUsage:
    """What was reported: the token usage, its source, and OpenAI's `usage` object for the caller."""

    token_usage: TokenUsage
    usage_source: UsageSource
    openai: JsonObject
    service_tier: str | None


@dataclass(slots=True)
class _GeminiCounts:
    """Counts with everything that belongs to the prompt in `prompt`, and thoughts in `completion`."""

    prompt: int
    completion: int
    reasoning: int


def has_counts(node: JsonObject) -> bool:
    """Return whether a `usageMetadata` object counts anything; that of a blocked prompt may not."""
    return any(
        token_count(node.get(name)) is not None
        for name in ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")
    )


def read_usage(node: JsonObject) -> GeminiUsage:
    """Read `node`, a `usageMetadata` object; zeros and no source if it counts nothing. Never raises."""
    counts = _read_counts(node)
    token_usage = _split_counts(node, counts)
    return GeminiUsage(
        token_usage=token_usage,
        usage_source=UsageSource.REPORTED if has_counts(node) else UsageSource.NONE,
        openai=_build_openai_usage(token_usage),
        service_tier=_TIERS.get(as_text(node.get("serviceTier")).lower())
        or _TIERS.get(as_text(node.get("trafficType")).lower()),
    )


def _read_counts(node: JsonObject) -> _GeminiCounts:
    prompt = token_count(node.get("promptTokenCount")) or 0
    tool_use = token_count(node.get("toolUsePromptTokenCount")) or 0
    # Some of Google's other answers call the field `responseTokenCount`.
    candidates = token_count(node.get("candidatesTokenCount")) or token_count(node.get("responseTokenCount")) or 0
    thoughts = token_count(node.get("thoughtsTokenCount")) or 0
    total = token_count(node.get("totalTokenCount"))
    counts = _GeminiCounts(prompt + tool_use, candidates + thoughts, thoughts)
    if total is None:
        return counts
    missing = total - counts.prompt - counts.completion
    if missing > 0:
        # Tokens of the total that appear nowhere else are hidden thinking: nothing else is billed and left out of both sums.
        return _GeminiCounts(counts.prompt, counts.completion + missing, thoughts + missing)
    if thoughts and -missing == thoughts <= candidates:
        return _GeminiCounts(counts.prompt, candidates, thoughts)
    if tool_use and -missing == tool_use <= prompt:
        return _GeminiCounts(prompt, counts.completion, thoughts)
    return counts


def _split_counts(node: JsonObject, counts: _GeminiCounts) -> TokenUsage:
    prompts = _count_by_modality(node, "promptTokensDetails", "toolUsePromptTokensDetails")
    cached_details = _count_by_modality(node, "cacheTokensDetails")
    completions = _count_by_modality(node, "candidatesTokensDetails", "responseTokensDetails")
    prompt, completion = RemainingTokens(counts.prompt), RemainingTokens(counts.completion)
    cached = prompt.take(token_count(node.get("cachedContentTokenCount")) or 0)
    audio = prompt.take(max(prompts.get("AUDIO", 0) - cached_details.get("AUDIO", 0), 0))
    image = prompt.take(max(prompts.get("IMAGE", 0) - cached_details.get("IMAGE", 0), 0))
    reasoning = completion.take(counts.reasoning)
    audio_output = completion.take(completions.get("AUDIO", 0))
    image_output = completion.take(completions.get("IMAGE", 0))
    return TokenUsage(
        input=prompt.rest,
        cached_read=cached,
        output=completion.rest,
        reasoning=reasoning,
        audio=audio,
        image=image,
        audio_output=audio_output,
        image_output=image_output,
    )


def _build_openai_usage(token_usage: TokenUsage) -> JsonObject:
    """Build OpenAI's `usage`: its details are parts of `prompt_tokens` and `completion_tokens`."""
    prompts: JsonObject = {"cached_tokens": token_usage.cached_read}
    completions: JsonObject = {"reasoning_tokens": token_usage.reasoning}
    for details, audio, image in (
        (prompts, token_usage.audio, token_usage.image),
        (completions, token_usage.audio_output, token_usage.image_output),
    ):
        details.update({name: count for name, count in (("audio_tokens", audio), ("image_tokens", image)) if count})
    return {
        "prompt_tokens": token_usage.prompt,
        "completion_tokens": token_usage.completion,
        "total_tokens": token_usage.total,
        "prompt_tokens_details": prompts,
        "completion_tokens_details": completions,
    }


def _count_by_modality(node: JsonObject, *names: str) -> dict[str, int]:
    """Return the tokens per modality (`TEXT`, `IMAGE`, `AUDIO`, …), summed over the lists of these names."""
    tokens: dict[str, int] = {}
    for name in names:
        for entry in as_objects(node.get(name)):
            modality = as_text(as_object(entry).get("modality")).upper()
            tokens[modality] = tokens.get(modality, 0) + (token_count(entry.get("tokenCount")) or 0)
    return tokens
