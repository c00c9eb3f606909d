"""How much of an account an attempt may need, by a model's rates, and how many output tokens an amount affords.

The bound holds for a prompt and an answer that are at most as long as assumed: every token counts at the dearest rate that it can
have. What goes beyond is not charged. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from keyferry.billing.charge import ChargeTerms
from keyferry.pricing.tariff import Tariff


@dataclass(frozen=True, slots=True)
class LargestUsage:
    """What an attempt may use at most."""

    prompt_tokens: int
    output_tokens: int = 0
    """Of all answers together; 0 for embeddings, which have none. Reasoning counts within it, as providers limit it."""
    images: bool = False
    """Whether the prompt has images."""
    audio: bool = False
    """Whether the prompt has audio, or the answer is spoken."""
    caching: bool = True
    """Whether the provider may write the prompt to a cache, which costs more where it has a price of its own."""


def largest_cost(tariff: Tariff, usage: LargestUsage) -> int | None:
    """Return an upper bound of the cost in 10^-12 dollars; None if the model has no price for what is used."""
    prompt, output = _dearest(tariff, usage, _prompt_kinds(usage)), _dearest(tariff, usage, _output_kinds(usage))
    if (prompt is None and usage.prompt_tokens) or (output is None and usage.output_tokens):
        return None
    return tariff.per_request + usage.prompt_tokens * (prompt or 0) + usage.output_tokens * (output or 0)


def worst_case_charge(tariff: Tariff, usage: LargestUsage, terms: ChargeTerms) -> int | None:
    """Return an upper bound of what an attempt is charged, in micro-dollars; None if the model has no price for what it uses.

    With `spend_terms` it is the bound of what counts in budgets.
    """
    if terms.factor == 0:
        return terms.fee_micro_usd
    cost = largest_cost(tariff, usage)
    return None if cost is None else terms.amount(cost)


def affordable_output_tokens(
    amount_micro_usd: int, tariff: Tariff, usage: LargestUsage, terms: ChargeTerms
) -> int | None:
    """Return how many of the output tokens of `usage` the amount affords; None if it does not pay for the prompt alone.

    A model without a price for its output affords none: its charge has no bound.
    """
    most = terms.largest_cost(amount_micro_usd)
    if most is None:
        return usage.output_tokens
    prompt_only = LargestUsage(usage.prompt_tokens, 0, usage.images, usage.audio, usage.caching)
    fixed = largest_cost(tariff, prompt_only)
    if fixed is None or fixed > most:
        return None
    rate = _dearest(tariff, usage, _output_kinds(usage))
    if rate is None:
        return 0
    return usage.output_tokens if rate == 0 else min(usage.output_tokens, (most - fixed) // rate)


def _prompt_kinds(usage: LargestUsage) -> Iterator[str]:
    yield "input"
    yield "cached_read"
    if usage.caching:
        yield "cache_write"
        yield "cache_write_1h"
    if usage.images:
        yield "image"
    if usage.audio:
        yield "audio"


def _output_kinds(usage: LargestUsage) -> Iterator[str]:
    yield "output"
    yield "reasoning"
    # Only models that make images have a rate for them, and they need not be asked.
    yield "image_output"
    if usage.audio:
        yield "audio_output"


def _dearest(tariff: Tariff, usage: LargestUsage, kinds: Iterator[str]) -> int | None:
    """Return the highest rate of these kinds of token at any length up to the prompt's; None without any rate."""
    prices = [
        price
        for kind in kinds
        if (rate := tariff.rate_of(kind)) is not None
        for price in (rate.base, *(step for start, step in rate.steps if start < usage.prompt_tokens))
    ]
    return max(prices, default=None)
