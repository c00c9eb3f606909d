"""Splits Gemini's `usageMetadata` into disjoint token counts.

Google's rules (API reference, `UsageMetadata`): `promptTokenCount` includes the cached tokens;
`toolUsePromptTokenCount` is what built-in tools added to the prompt and `thoughtsTokenCount` the thinking, both outside
the other counts; `totalTokenCount` is the sum. A count of zero is left out.
"""

from dataclasses import dataclass

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text
from services.provider_worker.adapters.response.usage_counts import CountReader, UsageTally
from services.provider_worker.adapters.usage_report import NO_REPORT, RemainingTokens, UsageReport, usage_note

_TIERS = {"flex": "flex", "priority": "priority", "on_demand_flex": "flex", "on_demand_priority": "priority"}
"""`serviceTier` (AI Studio) and `trafficType` (Vertex) values that prices depend on."""


@dataclass(frozen=True, slots=True)
class GeminiUsage:
    """What was reported, OpenAI's `usage` object for the caller (null if a side is unknown), and the tier."""

    report: UsageReport
    openai: JsonObject | None
    service_tier: str | None


@dataclass(slots=True)
class _GeminiCounts:
    """Counts with everything that belongs to the prompt in `prompt`, and thoughts in `completion`."""

    prompt: int
    completion: int
    reasoning: int


NO_USAGE = GeminiUsage(NO_REPORT, None, None)


def read_usage(node: JsonObject) -> GeminiUsage:
    """Read `node`, a `usageMetadata` object; nothing is known if it counts nothing, as for a blocked prompt. Never raises."""
    reader = CountReader()
    prompt = reader.read(node, "promptTokenCount")
    candidates = reader.read(node, "candidatesTokenCount")
    if candidates is None:
        # Some of Google's other answers call the field `responseTokenCount`.
        candidates = reader.read(node, "responseTokenCount")
    total = reader.read(node, "totalTokenCount")
    counted = any(count is not None for count in (prompt, candidates, total))
    total = reader.check_total("totalTokenCount", total, (prompt or 0) + (candidates or 0))
    counts = _read_counts(reader, node, prompt or 0, candidates or 0, total)
    token_usage = _split_counts(reader, node, counts)
    # A count that is left out is zero, one that cannot be right is unknown.
    report = UsageReport(
        token_usage if counted else TokenUsage(),
        prompt_known=counted and _is_known(reader, "promptTokenCount", "toolUsePromptTokenCount"),
        completion_known=counted
        and _is_known(reader, "candidatesTokenCount", "responseTokenCount", "thoughtsTokenCount"),
        implausible=reader.implausible,
    )
    tier = _TIERS.get(as_text(node.get("serviceTier")).lower()) or _TIERS.get(as_text(node.get("trafficType")).lower())
    return GeminiUsage(report, _build_openai_usage(report), tier)


def merge_usage(earlier: GeminiUsage, later: GeminiUsage) -> GeminiUsage:
    """Return two reports of one answer as one: a later one that says less takes nothing away."""
    report = earlier.report.merge(later.report)
    return GeminiUsage(report, _build_openai_usage(report), later.service_tier or earlier.service_tier)


def gemini_tally() -> UsageTally[GeminiUsage]:
    """Create a tally of `usageMetadata` objects."""
    return UsageTally(read_usage, merge_usage)


def _is_known(reader: CountReader, *names: str) -> bool:
    return not any(name in reader.implausible for name in names)


def _read_counts(
    reader: CountReader, node: JsonObject, prompt: int, candidates: int, total: int | None
) -> _GeminiCounts:
    tool_use = reader.read(node, "toolUsePromptTokenCount") or 0
    thoughts = reader.read(node, "thoughtsTokenCount") or 0
    counts = _GeminiCounts(prompt + tool_use, candidates + thoughts, thoughts)
    if total is None:
        return counts
    missing = total - counts.prompt - counts.completion
    if missing > 0 and not reader.implausible:
        # Tokens of the total that appear nowhere else are hidden thinking: nothing else is billed and left out of both sums.
        return _GeminiCounts(counts.prompt, counts.completion + missing, thoughts + missing)
    # A total that is less than all counts, and at least the two main ones, proves that the others are inside those.
    excess = counts.prompt + counts.completion - max(total, prompt + candidates)
    if excess <= 0:
        return counts
    in_prompt = tool_use if excess == tool_use != thoughts else max(excess - thoughts, 0)
    return _GeminiCounts(counts.prompt - in_prompt, counts.completion - (excess - in_prompt), thoughts)


def _split_counts(reader: CountReader, node: JsonObject, counts: _GeminiCounts) -> TokenUsage:
    prompts = _count_by_modality(reader, node, "promptTokensDetails", "toolUsePromptTokensDetails")
    cached_details = _count_by_modality(reader, node, "cacheTokensDetails")
    completions = _count_by_modality(reader, node, "candidatesTokensDetails", "responseTokensDetails")
    prompt, completion = RemainingTokens(counts.prompt), RemainingTokens(counts.completion)
    cached = prompt.take(reader.read(node, "cachedContentTokenCount") or 0)
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


def _build_openai_usage(report: UsageReport) -> JsonObject | None:
    """Build OpenAI's `usage`: its details are parts of `prompt_tokens` and `completion_tokens`."""
    if not (report.prompt_known and report.completion_known):
        return None
    token_usage = report.token_usage
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
        **usage_note(report),
    }


def _count_by_modality(reader: CountReader, node: JsonObject, *names: str) -> dict[str, int]:
    """Return the tokens per modality (`TEXT`, `IMAGE`, `AUDIO`, …), summed over the lists of these names."""
    tokens: dict[str, int] = {}
    for name in names:
        for entry in as_objects(node.get(name)):
            modality = as_text(as_object(entry).get("modality")).upper()
            tokens[modality] = tokens.get(modality, 0) + (reader.read(entry, "tokenCount") or 0)
    return tokens
