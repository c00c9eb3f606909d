"""The decision about a request as its caller may see it. Pure."""

from collections.abc import Sequence

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.route import Candidate, DecisionSummary, FormerAttempt, SummarizedCandidate
from services.router.planning.context import Plan, RouteRequest

MAX_CANDIDATES = 50
"""An answer should not become much longer because a tenant has many keys."""
MAX_MODELS = 100


def summarize_decision(
    request: RouteRequest, plan: Plan, failed_attempts: Sequence[FailedAttempt], *, decision_id: str
) -> DecisionSummary:
    """Return what was considered for a request, planned candidates first, without the ids of keys."""
    ranks = {index: rank for rank, index in enumerate(plan.order, start=1)}
    ordered = [*plan.order, *(index for index in range(len(plan.candidates)) if index not in ranks)]
    return DecisionSummary(
        request_id=request.request_id,
        decision_id=decision_id,
        model_asked=request.model,
        operation=request.operation,
        power_level=plan.power_level or request.power_level,
        models=list(plan.models[:MAX_MODELS]),
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


def _summarize(candidate: Candidate, rank: int | None) -> SummarizedCandidate:
    return SummarizedCandidate(
        provider=candidate.provider,
        endpoint=candidate.endpoint,
        model=candidate.model,
        key_source=candidate.key_source,
        region=candidate.region,
        rank=rank,
        reason=candidate.reason,
        detail=candidate.detail,
    )
