"""How a candidate stands by what happened to it: in this request, and lately in others. Pure."""

from enum import IntEnum

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.health import CircuitState, Target
from keyferry.contracts.route import Candidate, DropReason
from services.router.catalog.lookup import NAMED_BY_TENANT
from services.router.context import RouteRequest, RoutingContext

OF_THE_KEY = frozenset({FailureClass.AUTH, FailureClass.QUOTA, FailureClass.RATE_LIMIT, FailureClass.NOT_FOUND})
"""Failures that another key of the same provider may not have: its account, its limits, the models it may see."""


class HealthRank(IntEnum):
    """Where health puts a candidate among those of the same owner; the lower is tried first."""

    HALF_OPEN_PROBE = 0
    """Its time to rest is over, and this is the trial: the next candidate answers if it fails again."""
    HEALTHY = 1
    RECOVERING = 2
    """Its time to rest is over, and somebody else's trial has not succeeded yet."""


def target_of(candidate: Candidate, tenant: str) -> Target | None:
    """What the health monitor calls it; None where nothing is known.

    Servers at an address of the tenant's own are known by their endpoint; behind a provider key of such a server, an
    Azure resource included, tenants share nothing but the provider's name, and one must not be judged by another's.
    """
    if candidate.endpoint is not None:
        return Target(provider=candidate.provider, model=candidate.model, tenant=tenant, endpoint=candidate.endpoint)
    if candidate.provider in NAMED_BY_TENANT:
        return None
    return Target(provider=candidate.provider, model=candidate.model)


_UNKNOWN = (HealthRank.HEALTHY, "")


class HealthFilter:
    """Judges the candidates of one plan. A target's trial is taken once, for all keys behind it."""

    def __init__(self, request: RouteRequest, context: RoutingContext) -> None:
        self._request = request
        self._context = context
        self._seen: dict[tuple[str, str | None, str], tuple[HealthRank, str] | str] = {}

    def apply(self, candidate: Candidate, *, probe_allowed: bool) -> tuple[Candidate, HealthRank]:
        """The candidate, dropped where it must not be tried now, and its standing.

        `may_try`: whether it would really be tried first, so that a trial is not taken for nothing.
        """
        for failed in self._request.failed_attempts:
            if would_fail_again(candidate, failed):
                name = candidate.endpoint or candidate.provider
                detail = f"{name} has failed for this request: {failed.failure.failure_class}"
                return drop(candidate, DropReason.ALREADY_TRIED, detail), HealthRank.HEALTHY
        behind = (candidate.provider, candidate.endpoint, candidate.model)
        seen = self._seen.get(behind)
        if seen is None:
            target = target_of(candidate, self._request.tenant)
            seen = _UNKNOWN if target is None else self._health(target, probe_allowed)
            self._seen[behind] = seen
        if isinstance(seen, str):
            return drop(candidate, DropReason.UNHEALTHY, seen), HealthRank.HEALTHY
        health_rank, detail = seen
        if detail:
            candidate = candidate.model_copy(update={"detail": f"{candidate.detail}; {detail}"})
        return candidate, health_rank

    def _health(self, target: Target, probe_allowed: bool) -> tuple[HealthRank, str] | str:
        health = self._context.health(target)
        if health is None or health.state is CircuitState.CLOSED:
            return HealthRank.HEALTHY, ""
        if health.until is not None and health.until > self._context.now:
            rest_seconds = (health.until - self._context.now).total_seconds()
            name = target.endpoint or f"{target.provider}'s {target.model}"
            return f"{name} is {health.state} for {rest_seconds:.1f} s more: {health.reason}"
        if probe_allowed and self._context.may_probe(target):
            return HealthRank.HALF_OPEN_PROBE, f"it was {health.state}, and this is the trial whether it is well again"
        return HealthRank.RECOVERING, f"it was {health.state}, and others come first until a trial has succeeded"


def would_fail_again(candidate: Candidate, failed: FailedAttempt) -> bool:
    """Whether this attempt's failure is to be expected of the candidate, too."""
    if (failed.provider, failed.endpoint, failed.model) != (
        candidate.provider,
        candidate.endpoint,
        candidate.model,
    ):
        return False
    if candidate.key_id is None or failed.key_id is None or candidate.key_id == failed.key_id:
        return True
    if candidate.provider in NAMED_BY_TENANT:
        return False  # another key of these is another server
    failure = failed.failure
    if failure.failure_class is FailureClass.UNAVAILABLE and failure.where is Where.NOT_SENT:
        return False  # this key could not be had, since it was removed a moment ago: nobody asked the provider
    return failure.failure_class not in OF_THE_KEY


def drop(candidate: Candidate, reason: DropReason, detail: str) -> Candidate:
    """The candidate, not to be tried for this reason."""
    return candidate.model_copy(update={"kept": False, "reason": reason, "detail": detail})
