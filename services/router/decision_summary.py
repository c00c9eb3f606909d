"""The decision about a request as its caller may see it. Pure."""

from collections.abc import Iterable, Sequence

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.route import Candidate, DecisionSummary, FormerAttempt, SummarizedCandidate
from keyferry.contracts.usage import KeySource
from services.router.planning.context import Plan, RouteRequest

MAX_CANDIDATES = 50
"""An answer should not become much longer because a tenant has many keys."""
MAX_MODELS = 100


def summarize_decision(
    request: RouteRequest, plan: Plan, failed_attempts: Sequence[FailedAttempt], *, decision_id: str
) -> DecisionSummary:
    """Return what was considered for a request, planned candidates first, without the ids of keys.

    The platform's keys for one offering are one candidate, the best of them: tenants are not shown which of these keys pauses.
    """
    planned = _distinct(plan.candidates, plan.order)
    ranks = {index: rank for rank, index in enumerate(planned, start=1)}
    ordered = _distinct(plan.candidates, [*plan.order, *range(len(plan.candidates))])
    return DecisionSummary(
        request_id=request.request_id,
        decision_id=decision_id,
        model_asked=request.model,
        operation=request.operation,
        power_level=plan.power_level or request.power_level,
        models=list(plan.models[:MAX_MODELS]),
        rule=plan.rule,
        preferences=list(plan.applied),
        candidates=[_summarize(plan.candidates[index], ranks.get(index)) for index in ordered[:MAX_CANDIDATES]],
        more_candidates=max(0, len(ordered) - MAX_CANDIDATES),
        failed_attempts=[
            FormerAttempt(
                provider=failed.provider,
                endpoint=failed.endpoint,
                model=failed.model,
                failure=failed.failure.failure_class,
            )
            for failed in failed_attempts
        ],
    )


def _distinct(candidates: Sequence[Candidate], indexes: Iterable[int]) -> list[int]:
    """Return the indexes without repetitions, and of the platform's keys for one offering only the first."""
    found: dict[object, int] = {}
    for index in indexes:
        each = candidates[index]
        of_platform = each.key_source is KeySource.PLATFORM
        found.setdefault((each.provider, each.model, each.region, each.chosen_model) if of_platform else index, index)
    return list(found.values())


def _summarize(candidate: Candidate, rank: int | None) -> SummarizedCandidate:
    return SummarizedCandidate(
        provider=candidate.provider,
        endpoint=candidate.endpoint,
        model=candidate.model,
        key_source=candidate.key_source,
        region=candidate.region,
        rank=rank,
        reason=candidate.reason,
        # A caller need not be who manages the keys: the commands that help with one are shown without its id.
        detail=candidate.detail.replace(candidate.key_id, "KEY_ID") if candidate.key_id else candidate.detail,
    )
