"""What prompt caching at the provider would have saved: prompts of a conversation that were sent again at the full price.

Contents are not stored, so this is an estimate: of two requests of one conversation to one model within CACHE_LIFETIME the later
prompt is taken to begin with the whole earlier one. Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

from keyferry.billing.charge import pico_usd, spend_terms
from keyferry.contracts.recommendations import Confidence, Recommendation, RecommendationKind
from keyferry.contracts.usage import KeySource, TokenUsage
from keyferry.pricing.tariff import Tariff
from services.router.planning.context import RoutingContext
from services.router.power.estimates import EstimateRates
from services.router.recommendations.confidence import LEAST_SAMPLES, is_worth_it
from services.router.recommendations.replayed import ReplayedRequest, count_requests, total_spend

CACHE_LIFETIME = timedelta(minutes=5)
"""The shortest that providers keep a prompt (Anthropic: 5 minutes, OpenAI: 5 to 10)."""
LEAST_TOKENS = 1024
"""Providers cache prompts from about this length on (OpenAI and Anthropic: 1024 for most models)."""


def recommend_caching(
    replayed: Sequence[ReplayedRequest], rates: EstimateRates, context: RoutingContext
) -> Iterator[Recommendation]:
    """Yield the models at which caching would have paid."""
    groups: dict[str, list[ReplayedRequest]] = defaultdict(list)
    for each in replayed:
        if each.past.conversation is not None and each.now.key_source is not KeySource.NONE:
            groups[each.now.served or ""].append(each)
    for served, group in groups.items():
        provider, _, model = served.partition("/")
        tariff = rates.tariff(provider, model)
        if tariff is None or not _reads_for_less(tariff):
            continue
        repeated = [(each, used) for each, used in _with_cache(group) if used != each.used]
        saved = sum((each.weight * _saved(each, used, tariff, rates, context) for each, used in repeated), Fraction())
        requests = [each for each, _ in repeated]
        if len(requests) >= LEAST_SAMPLES and is_worth_it(int(saved), total_spend(requests)):
            yield _recommend(served, requests, int(saved))


def has_conversations(replayed: Sequence[ReplayedRequest]) -> bool:
    """Return whether any request names its conversation."""
    return any(each.past.conversation is not None for each in replayed)


def _reads_for_less(tariff: Tariff) -> bool:
    read, plain = tariff.rates.get("cached_read"), tariff.rates.get("input")
    return read is not None and plain is not None and read.base < plain.base


def _with_cache(group: Sequence[ReplayedRequest]) -> Iterator[tuple[ReplayedRequest, TokenUsage]]:
    """Yield each later request of a conversation with the tokens that it would have had."""
    conversations: dict[str, list[ReplayedRequest]] = defaultdict(list)
    for each in group:
        conversations[each.past.conversation or ""].append(each)
    for requests in conversations.values():
        requests.sort(key=lambda each: each.past.decided_at)
        for earlier, later in pairwise(requests):
            known = min(earlier.used.prompt, later.used.prompt)
            moved = min(known - later.used.cached_read, later.used.input)
            if (
                later.past.decided_at - earlier.past.decided_at <= CACHE_LIFETIME
                and known >= LEAST_TOKENS
                and moved > 0
            ):
                changes = {"input": later.used.input - moved, "cached_read": later.used.cached_read + moved}
                yield later, later.used.model_copy(update=changes)


def _saved(
    each: ReplayedRequest, used: TokenUsage, tariff: Tariff, rates: EstimateRates, context: RoutingContext
) -> int:
    cost = tariff.cost(used)
    if cost is None or each.now.key_source is None:
        return 0
    tier = None if context.tenant is None else context.tenant.tier
    terms = spend_terms(rates.billing, key_source=each.now.key_source, level=each.now.level, tier=tier)
    return each.now.spend_micro_usd - terms.amount(pico_usd(cost))


def _recommend(served: str, requests: Sequence[ReplayedRequest], saved: int) -> Recommendation:
    return Recommendation(
        recommendation_id=f"prompt_caching-{served}",
        kind=RecommendationKind.PROMPT_CACHING,
        title=f"Prompt caching at {served}",
        detail=(
            f"{len(requests)} sampled requests followed another one of their conversation within"
            f" {CACHE_LIFETIME.seconds // 60} minutes, and paid the full price for a prompt that the provider could have cached."
        ),
        served=served,
        requests=count_requests(requests),
        sampled=len(requests),
        spend_micro_usd=total_spend(requests),
        saved_micro_usd=saved,
        confidence=Confidence.LOW,
        confidence_detail="contents are not stored: each prompt is taken to begin with the one before it",
        action=(
            "Put what stays the same (instructions, tools, earlier messages) at the beginning of the prompt, unchanged; for"
            " Anthropic mark its end with cache_control."
        ),
    )
