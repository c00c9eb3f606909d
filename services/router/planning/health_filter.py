"""Filters and ranks candidates by failures: in this request, and recently in others. Pure."""

from enum import IntEnum

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.health import CircuitState, Target
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.route import Candidate, DropReason
from services.router.planning.context import RouteRequest, RoutingContext

OF_THE_KEY = frozenset({FailureClass.AUTH, FailureClass.QUOTA, FailureClass.RATE_LIMIT, FailureClass.NOT_FOUND})
"""Failures that another key of the same provider may not have: of its account, its limits, or the models it may use."""


class HealthRank(IntEnum):
    """The rank of a candidate by health among those of the same owner; the lowest is tried first."""

    HALF_OPEN_PROBE = 0
    """Its circuit is half-open, and this request is the probe: the next candidate answers if it fails again."""
    HEALTHY = 1
    RECOVERING = 2
    """Its circuit is half-open, and another request's probe has not succeeded yet."""


def target_of(candidate: Candidate, tenant: str) -> Target | None:
    """Return the target that the health monitor tracks for a candidate; None if it tracks none.

    Endpoints are targets of their own. Behind the keys of a tenant's own server or Azure resource, tenants share only the
    provider's name, so one tenant's failures must not affect another.
    """
    if candidate.endpoint is not None:
        return Target(provider=candidate.provider, model=candidate.model, tenant=tenant, endpoint=candidate.endpoint)
    if candidate.provider in NAMED_BY_TENANT:
        return None
    return Target(provider=candidate.provider, model=candidate.model)


_UNKNOWN = (HealthRank.HEALTHY, "")


class HealthFilter:
    """Filters the candidates of one plan. All keys of a target share one probe."""

    def __init__(self, request: RouteRequest, context: RoutingContext) -> None:
        self._request = request
        self._context = context
        self._seen: dict[tuple[str, str | None, str], tuple[HealthRank, str] | str] = {}

    def apply(self, candidate: Candidate, *, probe_allowed: bool) -> tuple[Candidate, HealthRank]:
        """Return the candidate, dropped if it must not be tried now, and its health rank.

        `probe_allowed`: whether the candidate would come first, so that no probe is used up in vain.
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
            return f"{name} gets no requests for another {rest_seconds:.1f} s: {health.reason}"
        if probe_allowed and self._context.may_probe(target):
            return (
                HealthRank.HALF_OPEN_PROBE,
                f"its circuit was {health.state}, and this request is the half-open probe",
            )
        return (
            HealthRank.RECOVERING,
            f"its circuit was {health.state}, and others come first until a probe has succeeded",
        )


def would_fail_again(candidate: Candidate, failed: FailedAttempt) -> bool:
    """Return whether the candidate would probably fail like this attempt."""
    if (failed.provider, failed.endpoint, failed.model) != (
        candidate.provider,
        candidate.endpoint,
        candidate.model,
    ):
        return False
    if candidate.key_id is None or failed.key_id is None or candidate.key_id == failed.key_id:
        return True
    if candidate.provider in NAMED_BY_TENANT and candidate.endpoint is None:
        return False  # another key of these may be for another server
    failure = failed.failure
    if failure.failure_class is FailureClass.UNAVAILABLE and failure.where is Where.NOT_SENT:
        return False  # the key was removed a moment ago, so no request was sent to the provider
    return failure.failure_class not in OF_THE_KEY


def drop(candidate: Candidate, reason: DropReason, detail: str) -> Candidate:
    """Return the candidate as dropped for this reason."""
    return candidate.model_copy(update={"kept": False, "reason": reason, "detail": detail})
