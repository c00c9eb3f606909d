"""How a candidate stands by what happened to it: in this request, and lately in others. Pure."""

from enum import IntEnum

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.health import CircuitState, Target
from keyferry.contracts.route import Candidate, DropReason
from services.router.catalog.lookup import NAMED_BY_TENANT
from services.router.facts import Facts, Wanted

OF_THE_KEY = frozenset({FailureClass.AUTH, FailureClass.QUOTA, FailureClass.RATE_LIMIT, FailureClass.NOT_FOUND})
"""Failures that another key of the same provider may not have: its account, its limits, the models it may see."""


class Standing(IntEnum):
    """Where health puts a candidate among those of the same owner; the lower is tried first."""

    TRIAL = 0
    """Its time to rest is over, and this is the trial: the next candidate answers if it fails again."""
    ORDINARY = 1
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


_UNKNOWN = (Standing.ORDINARY, "")


class Judge:
    """Judges the candidates of one plan. A target's trial is taken once, for all keys behind it."""

    def __init__(self, wanted: Wanted, facts: Facts) -> None:
        self._wanted = wanted
        self._facts = facts
        self._seen: dict[tuple[str, str | None, str], tuple[Standing, str] | str] = {}

    def judged(self, candidate: Candidate, *, may_try: bool) -> tuple[Candidate, Standing]:
        """The candidate, dropped where it must not be tried now, and its standing.

        `may_try`: whether it would really be tried first, so that a trial is not taken for nothing.
        """
        for failed in self._wanted.failed_attempts:
            if failed_with(candidate, failed):
                name = candidate.endpoint or candidate.provider
                detail = f"{name} has failed for this request: {failed.failure.failure_class}"
                return dropped(candidate, DropReason.ALREADY_TRIED, detail), Standing.ORDINARY
        behind = (candidate.provider, candidate.endpoint, candidate.model)
        seen = self._seen.get(behind)
        if seen is None:
            target = target_of(candidate, self._wanted.tenant)
            seen = _UNKNOWN if target is None else self._health(target, may_try)
            self._seen[behind] = seen
        if isinstance(seen, str):
            return dropped(candidate, DropReason.UNHEALTHY, seen), Standing.ORDINARY
        standing, detail = seen
        if detail:
            candidate = candidate.model_copy(update={"detail": f"{candidate.detail}; {detail}"})
        return candidate, standing

    def _health(self, target: Target, may_try: bool) -> tuple[Standing, str] | str:
        health = self._facts.health(target)
        if health is None or health.state is CircuitState.CLOSED:
            return Standing.ORDINARY, ""
        if health.until is not None and health.until > self._facts.now:
            rest_seconds = (health.until - self._facts.now).total_seconds()
            name = target.endpoint or f"{target.provider}'s {target.model}"
            return f"{name} is {health.state} for {rest_seconds:.1f} s more: {health.reason}"
        if may_try and self._facts.trial(target):
            return Standing.TRIAL, f"it was {health.state}, and this is the trial whether it is well again"
        return Standing.RECOVERING, f"it was {health.state}, and others come first until a trial has succeeded"


def failed_with(candidate: Candidate, failed: FailedAttempt) -> bool:
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


def dropped(candidate: Candidate, reason: DropReason, detail: str) -> Candidate:
    """The candidate, not to be tried for this reason."""
    return candidate.model_copy(update={"kept": False, "reason": reason, "detail": detail})
