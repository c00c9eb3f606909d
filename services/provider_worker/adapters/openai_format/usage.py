"""Builds the token usage and OpenAI's usage object from providers' counts."""

from dataclasses import dataclass

from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.response.json_text import JsonObject


@dataclass(frozen=True, slots=True)
class TranslatedUsage:
    """What a provider reported: disjoint token counts, and the usage object for the caller.

    `openai` is null if nothing was reported.
    """

    token_usage: TokenUsage
    openai: JsonObject | None

    @property
    def usage_source(self) -> UsageSource:
        """Whether anything was reported."""
        return UsageSource.NONE if self.openai is None else UsageSource.REPORTED


NO_USAGE = TranslatedUsage(TokenUsage(), None)


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
