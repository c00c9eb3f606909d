"""Observed attempts for tests of the health monitor."""

import itertools
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import Target
from services.health_monitor.evidence import Evidence, ObservedAttempt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = "https://api.openai.com"
OWN = Target(provider="custom", model="llama", tenant="acme", endpoint="ollama")
_numbers = itertools.count(1)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def attempt(
    evidence: Evidence,
    ended_at: datetime,
    *,
    lasted: timedelta = timedelta(0),
    target: Target = OWN,
    failure_class: FailureClass | None = None,
    retry_after: timedelta = timedelta(0),
    tenant: str | None = None,
) -> ObservedAttempt:
    """Return an attempt with a new id. By default a failure is one of the server."""
    if failure_class is None and evidence is Evidence.FAILURE:
        failure_class = FailureClass.SERVER
    if failure_class is None and evidence is Evidence.RETRY_LATER:
        failure_class = FailureClass.RATE_LIMIT
    return ObservedAttempt(
        attempt_id=f"att_{next(_numbers)}",
        target=target,
        tenant=tenant,
        started_at=ended_at - lasted,
        ended_at=ended_at,
        latency_ms=int(lasted / timedelta(milliseconds=1)),
        evidence=evidence,
        failure_class=failure_class,
        retry_after=retry_after,
        reached=failure_class is not FailureClass.UNREACHABLE and evidence is not Evidence.NEUTRAL,
    )
