"""Past requests as they would be planned and priced now, each with how many requests it stands for. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from keyferry.contracts.past_decisions import PastDecision
from keyferry.contracts.usage import TokenUsage
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.power.comparison import AtLevel, LevelPlanner, Traffic, request_of, tokens_of


@dataclass(frozen=True, slots=True)
class ReplayedRequest:
    """One past request of the sample."""

    past: PastDecision
    request: RouteRequest
    """As it would be planned now."""
    used: TokenUsage
    now: AtLevel
    """What would become of it now."""
    weight: Fraction
    """How many requests of the days it stands for."""


def replay_all(
    past: Sequence[PastDecision],
    traffic: Traffic,
    planner: LevelPlanner,
    context: RoutingContext,
    allowed_of: Callable[[PastDecision], Sequence[str] | None],
) -> Iterator[ReplayedRequest | None]:
    """Plan every completed request again, one at a time; None for one that would be refused or has no price now."""
    completed = [each for each in past if tokens_of(each) is not None]
    sampled: dict[str, int] = {}
    for each in completed:
        sampled[traffic.key_of(each)] = sampled.get(traffic.key_of(each), 0) + 1
    for each in completed:
        used, request = tokens_of(each), request_of(each, allowed_of(each))
        now = planner.outcome(each, request, context)
        key = traffic.key_of(each)
        if used is None or now.served is None or now.cost is None:
            yield None
        else:
            weight = Fraction(max(traffic.requests.get(key, 0), sampled[key]), sampled[key])
            yield ReplayedRequest(each, request, used, now, weight)


def total_spend(replayed: Sequence[ReplayedRequest]) -> int:
    """Return what the requests that these stand for come to now, in micro-dollars."""
    return round(sum((each.weight * each.now.spend_micro_usd for each in replayed), Fraction()))


def count_requests(replayed: Sequence[ReplayedRequest]) -> int:
    """Return how many requests these stand for."""
    return round(sum((each.weight for each in replayed), Fraction()))
