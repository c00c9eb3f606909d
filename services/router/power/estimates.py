"""What a request would cost before it is sent: for the model that it names, and for each level the model that would answer.

Each has a range for every source of keys. Nothing is reserved, no half-open target is probed, and no decision is recorded. Pure.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from keyferry.billing.charge import charge
from keyferry.billing.plan import CREDITS_PER_USD, BillingPlan
from keyferry.contracts.credit import MICRO
from keyferry.contracts.estimates import CostEstimate, EstimatedChoice, EstimatedCost
from keyferry.contracts.features import DEFAULT_POWER_LEVEL, PowerLevel
from keyferry.contracts.money import bounded
from keyferry.contracts.route import Candidate
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import KeySource, RequestKind, TokenUsage
from keyferry.pricing.tariff import Tariff
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import CUSTOM, plan
from services.router.power.levels import expected_output_tokens

LONGEST_OUTPUT_TOKENS = 4096
"""What the upper end of a range assumes where neither the request nor the catalog limits the answer."""
_LARGEST_MICRO_USD = 10**15
"""More is in no account."""


@dataclass(frozen=True, slots=True)
class EstimateRates:
    """What costs and charges are computed by."""

    billing: BillingPlan
    tariff: Callable[[str, str], Tariff | None]
    """Returns the current prices of a provider's model, by the provider's name for it; None if unknown."""


def estimate_request(request: RouteRequest, context: RoutingContext, rates: EstimateRates) -> CostEstimate:
    """Return the estimate of a tenant's request, for its model and for every level, the cheapest level first."""
    allowance = None if context.tenant is None else rates.billing.allowance(context.tenant.tier)
    context = replace(context, may_probe=lambda _: False)
    by_level = replace(context, rules=None)
    levels = PowerLevel if request.kind is RequestKind.CHAT else ()
    return CostEstimate(
        tenant=request.tenant,
        model_asked=request.model,
        input_tokens=request.features.input_tokens,
        plan_version=rates.billing.version,
        monthly_free_requests=0 if allowance is None else allowance.requests,
        named=_estimate(request, context, rates, None),
        levels=[
            _estimate(replace(request, model=level.value, power_level=None), by_level, rates, level) for level in levels
        ],
    )


def _estimate(
    request: RouteRequest, context: RoutingContext, rates: EstimateRates, level: PowerLevel | None
) -> EstimatedChoice:
    planned = plan(request, context)
    chosen = level or planned.power_level or request.power_level or planned.preferences.power_level
    level = chosen or DEFAULT_POWER_LEVEL
    if planned.refusal is not None:
        return EstimatedChoice(level=level, detail=planned.refusal.message)
    kept = [planned.candidates[index] for index in planned.order]
    first = kept[0]
    model = first.chosen_model or request.model
    expected, longest = _output_tokens(model, request, context)
    ranges = _Ranges(request, context, rates, level, expected, longest)
    return EstimatedChoice(
        level=level,
        model=model,
        detail=planned.models[0].detail if planned.models else first.detail,
        expected_output_tokens=expected,
        longest_output_tokens=longest,
        costs=list(ranges.by_source([each for each in kept if each.chosen_model == first.chosen_model])),
    )


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Prices the places of one model."""

    request: RouteRequest
    context: RoutingContext
    rates: EstimateRates
    level: PowerLevel
    expected_output_tokens: int
    longest_output_tokens: int

    def by_source(self, places: Sequence[Candidate]) -> Iterator[EstimatedCost]:
        """Yield the range of each source of keys that has a price."""
        for source in dict.fromkeys(place.key_source for place in places):
            ends = [found for each in places if each.key_source is source and (found := self._ends(each)) is not None]
            if ends:
                yield self._range(source, min(low for low, _ in ends), max(high for _, high in ends))

    def _ends(self, place: Candidate) -> tuple[Decimal, Decimal] | None:
        """Return the cost of the expected and of the longest answer at a place; None without a price."""
        if place.provider == CUSTOM:
            # The tenant's own server: no provider charges for it.
            return Decimal(0), Decimal(0)
        tariff = self.rates.tariff(place.provider, place.model)
        if tariff is None:
            return None
        tokens = self.request.features.input_tokens
        low = tariff.cost(TokenUsage(input=tokens, output=self.expected_output_tokens))
        high = tariff.cost(TokenUsage(input=tokens, output=self.longest_output_tokens))
        return None if low is None or high is None else (low, high)

    def _range(self, source: KeySource, low: Decimal, high: Decimal) -> EstimatedCost:
        charges = [self._charge(source, cost) for cost in (low, high)]
        in_credits = [Decimal(amount) * CREDITS_PER_USD / MICRO for amount in charges]
        return EstimatedCost(
            key_source=source,
            low_cost_usd=bounded(low),
            high_cost_usd=bounded(high),
            low_charge_micro_usd=charges[0],
            high_charge_micro_usd=charges[1],
            low_credits=in_credits[0],
            high_credits=in_credits[1],
        )

    def _charge(self, source: KeySource, cost_usd: Decimal) -> int:
        tier = None if self.context.tenant is None else self.context.tenant.tier
        exact = charge(cost_usd, self.rates.billing, key_source=source, level=self.level, tier=tier)
        return min(exact, _LARGEST_MICRO_USD)


def _output_tokens(model: str, request: RouteRequest, context: RoutingContext) -> tuple[int, int]:
    """Return how many tokens the answers are expected to have, and how many they may have, all together."""
    if request.kind is RequestKind.EMBEDDING:
        return 0, 0
    features = request.features
    expected = expected_output_tokens(features)
    longest = features.max_output_tokens
    if longest is None:
        found = context.catalog.resolve(model).model
        known = None if found is None else found.max_output_tokens
        longest = LONGEST_OUTPUT_TOKENS if known is None else min(known, LONGEST_OUTPUT_TOKENS)
    choices = features.choices
    return min(choices * expected, BIGINT_MAX), min(choices * max(expected, longest), BIGINT_MAX)
