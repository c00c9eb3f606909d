"""Attempts as the health monitor sees them, for tests."""

import itertools
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import Target
from services.health_monitor.evidence import Attempt, Weight

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWN = Target(provider="custom", model="llama", tenant="acme", endpoint="ollama")
_numbers = itertools.count(1)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def attempt(
    weight: Weight,
    ended_at: datetime,
    *,
    lasted: timedelta = timedelta(0),
    target: Target = OWN,
    failure_class: FailureClass | None = None,
    retry_after: timedelta = timedelta(0),
) -> Attempt:
    """An attempt with an id of its own. A failure is one of the server unless it is told otherwise."""
    if failure_class is None and weight is Weight.FAILURE:
        failure_class = FailureClass.SERVER
    if failure_class is None and weight is Weight.PATIENCE:
        failure_class = FailureClass.RATE_LIMIT
    return Attempt(
        attempt_id=f"att_{next(_numbers)}",
        target=target,
        started_at=ended_at - lasted,
        ended_at=ended_at,
        latency_ms=int(lasted / timedelta(milliseconds=1)),
        weight=weight,
        failure_class=failure_class,
        retry_after=retry_after,
        reached=failure_class is not FailureClass.UNREACHABLE and weight is not Weight.NOTHING,
    )
