"""Token counts as providers send them, and the usage object and meters that are made of them."""

from dataclasses import dataclass

from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.response.json_text import JsonObject

_MAX_TOKENS = 10**12
"""A larger count is a defect of the provider's and is read as none, so that it cannot overflow a ledger column."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a provider reported: disjoint meters, and the usage object for the caller. `openai` is null where it said nothing."""

    token_usage: TokenUsage
    openai: JsonObject | None

    @property
    def usage_source(self) -> UsageSource:
        """Whether anything was reported."""
        return UsageSource.NONE if self.openai is None else UsageSource.REPORTED


NOTHING = Counted(TokenUsage(), None)


def count(value: object) -> int | None:
    """`value` in tokens, or null where it is no count. Some providers write counts as numbers with a fraction of zero."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_TOKENS else None


def usage_object(
    token_usage: TokenUsage, *, cached: int | None = None, cache_write: int | None = None, reasoning: int | None = None
) -> JsonObject:
    """OpenAI's usage object for `meters`. Details are named only where the provider reported them."""
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
