"""Splits OpenAI-shaped usage objects into disjoint token counts.

OpenAI's rules (API reference, `usage`): `prompt_tokens` includes cached and audio tokens, `completion_tokens` includes
reasoning and audio, `total_tokens` is their sum. Compatible providers break each of them (all seen in recorded
traffic): xAI leaves reasoning out of `completion_tokens`, Grok on Azure leaves cached tokens out of `prompt_tokens`.
Where the total proves it, the counts are corrected, both for the ledger and for the caller.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from keyferry.contracts.money import PLACES
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.response.json_text import JsonObject, as_object

_MAX_TOKENS = 10**12
"""A larger count is a provider's defect and is ignored, so that it cannot overflow a ledger column."""

_QUANTUM = Decimal(1).scaleb(-PLACES)
_XAI_TICK = Decimal(1).scaleb(-10)
"""xAI reports its charge in ticks of 1e-10 dollars; recorded traffic agrees with its price list."""


@dataclass(frozen=True, slots=True)
class OpenAIUsage:
    """What a provider reported.

    `openai` is the usage object for the caller: the provider's own if it is already correct.
    """

    token_usage: TokenUsage
    openai: JsonObject
    reported_cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class _OpenAICounts:
    """Counts as OpenAI defines them: details are parts of `prompt` and `completion`. Null means not reported."""

    prompt: int
    completion: int
    cached: int | None
    cache_write: int | None
    reasoning: int | None
    prompt_audio: int
    prompt_image: int
    completion_audio: int
    completion_image: int


def read_usage(node: object) -> OpenAIUsage | None:
    """Read the usage in `node`; null if it is not a usage object. Never raises."""
    if not isinstance(node, dict):
        return None
    prompt = _first_count(node, "prompt_tokens", "input_tokens")
    completion = _first_count(node, "completion_tokens", "output_tokens")
    total = _first_count(node, "total_tokens")
    if prompt is None and completion is None and total is None:
        return None
    if prompt is None:
        prompt = max((total or 0) - (completion or 0), 0)
    counts = _correct_counts(_read_counts(node, prompt, completion or 0), total)
    return OpenAIUsage(_split_counts(counts), _caller_usage(node, counts), read_cost(node))


def usage_and_cost(usage: OpenAIUsage | None) -> tuple[TokenUsage, UsageSource, Decimal | None]:
    """Return the token usage, its source and the reported cost in dollars of an answer with this usage (or none)."""
    if usage is None:
        return TokenUsage(), UsageSource.NONE, None
    return usage.token_usage, UsageSource.REPORTED, usage.reported_cost_usd


def read_cost(node: JsonObject) -> Decimal | None:
    """Return the reported charge in dollars with at most twelve decimal places.

    Reads the fields of OpenRouter, Perplexity and xAI.
    """
    ticks = token_count(node.get("cost_in_usd_ticks"))
    if ticks is not None:
        return ticks * _XAI_TICK
    cost = node.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float | str | Decimal):
        return None
    try:
        # The shortest text that reads back as this float is the text the provider wrote, so nothing is lost by the float.
        amount = Decimal(str(cost))
        return amount.quantize(_QUANTUM).normalize() if amount.is_finite() and amount >= 0 else None
    except ArithmeticError:
        return None


def _read_counts(node: JsonObject, prompt: int, completion: int) -> _OpenAICounts:
    prompts = as_object(node.get("prompt_tokens_details") or node.get("input_tokens_details"))
    completions = as_object(node.get("completion_tokens_details") or node.get("output_tokens_details"))
    cached = _first_count(prompts, "cached_tokens")
    cache_write = _first_count(prompts, "cache_write_tokens", "cache_creation_tokens")
    reasoning = _first_count(completions, "reasoning_tokens")
    if cached is None:
        cached = _first_count(
            node, "prompt_cache_hit_tokens", "cache_read_input_tokens", "num_cached_tokens", "cached_tokens"
        )
    return _OpenAICounts(
        prompt=prompt,
        completion=completion,
        cached=cached,
        cache_write=_first_count(node, "cache_creation_input_tokens") if cache_write is None else cache_write,
        reasoning=_first_count(node, "reasoning_tokens") if reasoning is None else reasoning,
        prompt_audio=_first_count(prompts, "audio_tokens") or 0,
        prompt_image=_first_count(prompts, "image_tokens") or 0,
        completion_audio=_first_count(completions, "audio_tokens") or 0,
        completion_image=_first_count(completions, "image_tokens") or 0,
    )


def _correct_counts(counts: _OpenAICounts, total: int | None) -> _OpenAICounts:
    """Move counts into the sums that should include them.

    `total` is the provider's, and proves what it left out where.
    """
    cache = (counts.cached or 0) + (counts.cache_write or 0)
    reasoning = counts.reasoning or 0
    missing = 0 if total is None else max(total - counts.prompt - counts.completion, 0)
    if cache and (missing == cache + reasoning or (missing == cache and missing != reasoning)):
        counts = replace(counts, prompt=counts.prompt + cache)
        missing -= cache
    elif cache > counts.prompt:
        counts = replace(counts, prompt=counts.prompt + cache)
    if total is None and reasoning > counts.completion:
        missing = reasoning
    if not missing:
        return counts
    # Tokens of the total that appear nowhere else are hidden reasoning: nothing else is billed and left out of both sums.
    hidden = reasoning if missing == reasoning else reasoning + missing
    return replace(counts, completion=counts.completion + missing, reasoning=hidden)


def _split_counts(counts: _OpenAICounts) -> TokenUsage:
    prompt = RemainingTokens(counts.prompt)
    cached_read = prompt.take(counts.cached or 0)
    cache_write = prompt.take(counts.cache_write or 0)
    audio = prompt.take(counts.prompt_audio)
    image = prompt.take(counts.prompt_image)
    completion = RemainingTokens(counts.completion)
    reasoning = completion.take(counts.reasoning or 0)
    audio_output = completion.take(counts.completion_audio)
    image_output = completion.take(counts.completion_image)
    return TokenUsage(
        input=prompt.rest,
        cached_read=cached_read,
        cache_write=cache_write,
        output=completion.rest,
        reasoning=reasoning,
        audio=audio,
        image=image,
        audio_output=audio_output,
        image_output=image_output,
    )


class RemainingTokens:
    """A sum from which parts are taken, never more than is left: details may overlap (cached audio), token counts must not."""

    def __init__(self, tokens: int) -> None:
        self.rest = tokens

    def take(self, tokens: int) -> int:
        """Take `tokens`, or what is left if that is less."""
        taken = min(tokens, self.rest)
        self.rest -= taken
        return taken


def _caller_usage(node: JsonObject, counts: _OpenAICounts) -> JsonObject:
    """Return `node` itself if its OpenAI fields are already correct, else a corrected copy."""
    correct: JsonObject = {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
    }
    prompts = {"cached_tokens": counts.cached, "cache_write_tokens": counts.cache_write}
    for name, details in (
        ("prompt_tokens_details", prompts),
        ("completion_tokens_details", {"reasoning_tokens": counts.reasoning}),
    ):
        known = {field: count for field, count in details.items() if count is not None}
        reported = as_object(node.get(name))
        if any(reported.get(field) != count for field, count in known.items()):
            correct[name] = reported | known
    return node if all(node.get(field) == value for field, value in correct.items()) else node | correct


def _first_count(node: JsonObject, *names: str) -> int | None:
    for name in names:
        count = token_count(node.get(name))
        if count is not None:
            return count
    return None


def token_count(value: object) -> int | None:
    """Return `value` if it is a plausible number of tokens, else null. Some providers send whole numbers as floats."""
    if type(value) is int:  # nearly every count, and no boolean
        return value if 0 <= value <= _MAX_TOKENS else None
    if isinstance(value, float) and value.is_integer():
        return token_count(int(value))
    return None
