"""Builds the token usage and OpenAI's usage object from providers' counts."""

from dataclasses import dataclass

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.response.json_text import JsonObject, as_object
from services.provider_worker.adapters.usage_report import NO_REPORT, UsageReport, usage_note


@dataclass(frozen=True, slots=True)
class TranslatedUsage:
    """What a provider reported, and the usage object for the caller.

    `openai` is null if the prompt or the completion is unknown.
    """

    report: UsageReport
    openai: JsonObject | None

    def merge(self, later: "TranslatedUsage") -> "TranslatedUsage":
        """Return this usage and a later one of the same answer as one: one that says less takes nothing away."""
        report = self.report.merge(later.report)
        fields = {**(self.openai or {}), **(later.openai or {})}
        fields.pop("usage_note", None)
        prompts, completions = (as_object(fields.get(f"{side}_tokens_details")) for side in ("prompt", "completion"))
        merged = translated_usage(
            report,
            cached=0 if "cached_tokens" in prompts or report.token_usage.cached_read else None,
            cache_write=0 if "cache_write_tokens" in prompts or report.token_usage.cache_write else None,
            reasoning=0 if "reasoning_tokens" in completions or report.token_usage.reasoning else None,
        )
        return merged if merged.openai is None else TranslatedUsage(report, fields | merged.openai)


NO_USAGE = TranslatedUsage(NO_REPORT, None)


def translated_usage(
    report: UsageReport, *, cached: int | None = None, cache_write: int | None = None, reasoning: int | None = None
) -> TranslatedUsage:
    """Return `report` with OpenAI's usage object. Of the details only whether they are null is looked at."""
    if not (report.prompt_known and report.completion_known):
        return TranslatedUsage(report, None)
    counts = report.token_usage
    openai = build_usage(
        counts,
        cached=None if cached is None else counts.cached_read,
        cache_write=None if cache_write is None else counts.cache_write + counts.cache_write_1h,
        reasoning=None if reasoning is None else counts.reasoning,
    )
    return TranslatedUsage(report, openai | usage_note(report))


def build_usage(
    token_usage: TokenUsage, *, cached: int | None = None, cache_write: int | None = None, reasoning: int | None = None
) -> JsonObject:
    """Build OpenAI's usage object. Details are included only if the provider reported them."""
    usage: JsonObject = {
        "prompt_tokens": token_usage.prompt,
        "completion_tokens": token_usage.completion,
        "total_tokens": token_usage.total,
    }
    prompts = {"cached_tokens": cached, "cache_write_tokens": cache_write}
    known = {name: tokens for name, tokens in prompts.items() if tokens is not None}
    if known:
        usage["prompt_tokens_details"] = known
    if reasoning is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return usage
