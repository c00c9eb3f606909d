"""Past requests planned again, and what another rule set would change about them.

Both sides are planned with today's keys, prices and catalog and without health, so that the rules are the only difference. Pure.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from statistics import median

from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.money import bounded
from keyferry.contracts.past_decisions import PastDecision
from keyferry.contracts.route import Candidate
from keyferry.contracts.rule_management import DryRunExample, DryRunReport, ModelMove, RuleMatches
from keyferry.contracts.rules import RuleSet
from keyferry.contracts.usage import Outcome, TokenUsage
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.rules.matching import TenantRules

MAX_EXAMPLES = 10
MAX_MOVES = 50
_EXAMPLES_PER_MOVE = 3
_PRECISION = 60
"""Decimal digits: enough for the exact sum of a thousand costs of any size."""

Cost = Callable[[str, str, TokenUsage], Decimal | None]
"""Returns what these tokens cost at a provider for a model, by today's list prices; None if that is unknown."""
CostPair = tuple[Decimal, Decimal]
"""What a request costs before and after, in US dollars."""
_NO_FEATURES = RequestFeatures()


@dataclass(frozen=True, slots=True)
class Replanned:
    """One past request with today's plan and the plan under other rules."""

    past: PastDecision
    before: Plan
    after: Plan

    @property
    def served_before(self) -> str | None:
        """The model that would answer under the published rules, with its provider; None for a refusal."""
        return _served(self.before)

    @property
    def served_after(self) -> str | None:
        """The model that would answer under the other rules, with its provider; None for a refusal."""
        return _served(self.after)


def replan(
    past: PastDecision, context: RoutingContext, rules: TenantRules | None, allowed_models: Sequence[str] | None
) -> Replanned:
    """Plan a past request with the rules of `context` and with `rules`. The context must not know of health."""
    request = RouteRequest(
        past.tenant,
        past.model_asked,
        allowed_models,
        (),
        past.kind,
        past.prefer_own_keys,
        past.request_id,
        past.client_token_id,
        past.team,
        past.member,
        past.operation,
        past.tags,
        past.asked_level,
        past.features or _NO_FEATURES,
        past.conversation,
    )
    return Replanned(past, plan(request, context), plan(request, replace(context, rules=rules)))


@dataclass(slots=True)
class _Move:
    requests: int = 0
    unpriced: int = 0
    costs: list[CostPair] = field(default_factory=list)


@dataclass(slots=True)
class _Totals:
    moves: dict[tuple[str | None, str | None], _Move] = field(default_factory=dict)
    matches: Counter[str] = field(default_factory=Counter)
    examples: list[DryRunExample] = field(default_factory=list)
    costs: list[CostPair] = field(default_factory=list)
    unpriced: int = 0

    def add(self, result: Replanned, pair: CostPair | None, owner: str) -> None:
        """Add one request with its costs before and after, if both are known."""
        applied = result.after.rule
        if applied is not None and applied.owner == owner:
            self.matches[applied.rule] += 1
        if pair is not None:
            self.costs.append(pair)
        else:
            self.unpriced += 1
        if result.served_before == result.served_after:
            return
        move = self.moves.setdefault((result.served_before, result.served_after), _Move())
        move.requests += 1
        if pair is not None:
            move.costs.append(pair)
        else:
            move.unpriced += 1
        if len(self.examples) < MAX_EXAMPLES and move.requests <= _EXAMPLES_PER_MOVE:
            self.examples.append(_example(result))


def report(
    results: Sequence[Replanned],
    costs: Sequence[CostPair | None],
    rule_set: RuleSet,
    *,
    tenant: str,
    published: int,
    more: bool,
) -> DryRunReport:
    """Return the report about re-planned requests, newest first, for the rule set of `tenant` that was tried.

    `costs` are those of each request before and after, None where one of them is unknown.
    """
    totals = _Totals()
    for result, pair in zip(results, costs, strict=True):
        totals.add(result, pair, tenant)
    latencies = _median_latencies(result.past for result in results)
    latency_before, latency_after = _average_latencies(results, latencies)
    before, after = _sums(totals.costs)
    return DryRunReport(
        tenant=tenant,
        published=published,
        requests=len(results),
        oldest=results[-1].past.decided_at if results else None,
        newest=results[0].past.decided_at if results else None,
        more=more,
        changed=sum(move.requests for move in totals.moves.values()),
        refused=sum(result.served_after is None for result in results),
        newly_refused=sum(move.requests for (_, served), move in totals.moves.items() if served is None),
        cost_before_usd=before,
        cost_after_usd=after,
        unpriced=totals.unpriced,
        latency_before_ms=latency_before,
        latency_after_ms=latency_after,
        moves=_describe_moves(totals.moves, latencies),
        matches=[RuleMatches(rule=rule.name, requests=totals.matches[rule.name]) for rule in rule_set.rules],
        examples=totals.examples,
    )


def _served(planned: Plan) -> str | None:
    if not planned.order:
        return None
    first = planned.candidates[planned.order[0]]
    return _name(first.provider, first.endpoint, first.model)


def _name(provider: str, endpoint: str | None, model: str) -> str:
    return f"{endpoint or provider}/{model}"


def _first(planned: Plan) -> Candidate | None:
    return planned.candidates[planned.order[0]] if planned.order else None


def _median_latencies(decisions: Iterable[PastDecision]) -> Mapping[str, int]:
    """Return the median latency of the completed attempts of each model, in milliseconds."""
    found: dict[str, list[int]] = {}
    for decision in decisions:
        for attempt in decision.attempts:
            if attempt.outcome is Outcome.COMPLETED:
                found.setdefault(_name(attempt.provider, attempt.endpoint, attempt.model), []).append(
                    attempt.latency_ms
                )
    return {name: int(median(values)) for name, values in found.items()}


def costs_of(result: Replanned, cost: Cost) -> CostPair | None:
    """Return what the tokens of a request cost before and after; None if one of them is unknown."""
    used = [attempt.token_usage for attempt in result.past.attempts if attempt.outcome is Outcome.COMPLETED]
    before, after = _first(result.before), _first(result.after)
    if not used or before is None or after is None:
        return None
    amounts = [cost(candidate.provider, candidate.model, used[-1]) for candidate in (before, after)]
    first, second = amounts
    return None if first is None or second is None else (first, second)


def _sums(costs: Sequence[CostPair]) -> tuple[Decimal | None, Decimal | None]:
    if not costs:
        return None, None
    with localcontext() as exact:
        exact.prec = _PRECISION
        return bounded(sum((pair[0] for pair in costs), Decimal(0))), bounded(
            sum((pair[1] for pair in costs), Decimal(0))
        )


def _average_latencies(results: Sequence[Replanned], latencies: Mapping[str, int]) -> tuple[int | None, int | None]:
    """Return the average over requests of the medians of their models, where both medians are known."""
    pairs = [
        (latencies[before], latencies[after])
        for result in results
        if (before := result.served_before) in latencies and (after := result.served_after) in latencies
        if before is not None and after is not None
    ]
    if not pairs:
        return None, None
    return sum(pair[0] for pair in pairs) // len(pairs), sum(pair[1] for pair in pairs) // len(pairs)


def _describe_moves(
    moves: Mapping[tuple[str | None, str | None], _Move], latencies: Mapping[str, int]
) -> list[ModelMove]:
    described = []
    for (before, after), move in sorted(moves.items(), key=lambda item: -item[1].requests)[:MAX_MOVES]:
        cost_before, cost_after = _sums(move.costs)
        described.append(
            ModelMove(
                before=before,
                after=after,
                requests=move.requests,
                cost_before_usd=cost_before,
                cost_after_usd=cost_after,
                unpriced=move.unpriced,
                latency_before_ms=latencies.get(before or ""),
                latency_after_ms=latencies.get(after or ""),
            )
        )
    return described


def _example(result: Replanned) -> DryRunExample:
    refusal = result.after.refusal
    return DryRunExample(
        request_id=result.past.request_id,
        operation=result.past.operation,
        model_asked=result.past.model_asked,
        before=result.served_before,
        after=result.served_after,
        rule=result.after.rule.rule if result.after.rule is not None else None,
        reason=refusal.message if refusal is not None else "",
    )
