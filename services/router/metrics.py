"""What the router counts: its decisions, the limits that refuse requests, and how fallbacks end here."""

import time
from collections.abc import Callable

from keyferry.contracts.chat import Reroute
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.limits import LimitKind
from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.fallbacks import FALLBACKS
from keyferry.runtime.metrics.gauges import ProcessGauges
from keyferry.runtime.metrics.registry import BoundedCounter, BoundedHistogram
from services.router.decide import Request, RoutingDecision

_FIRST_CHOICE, _FALLBACK = "first_choice", "fallback"
UNCOUNTED = "uncounted"
"""The counters did not answer, and this installation admits nothing without them."""

_DECISIONS = BoundedCounter(
    "keyferry_routing_decisions_total",
    "Decisions of routers: attempts to run, first choices or fallbacks, and requests refused for a failure.",
    ("result", "reason"),
    preset=[
        ("run", _FIRST_CHOICE),
        ("run", _FALLBACK),
        *(("refused", failure_class.value) for failure_class in FailureClass),
    ],
)
_DURATION = BoundedHistogram(
    "keyferry_routing_duration_seconds",
    "Time from the arrival of a request at the router until its decision was published.",
    buckets=buckets.SHORT,
)
LIMIT_REFUSALS = BoundedCounter(
    "keyferry_limit_refusals_total",
    "Requests refused because a limit of their tenant or client token was reached.",
    ("limit",),
    preset=[*((kind.value,) for kind in LimitKind), (UNCOUNTED,)],
)
CREDIT_LEASES = BoundedHistogram(
    "keyferry_credit_lease_duration_seconds",
    "Time until the usage ledger answered a request for credit: granted, short, or unavailable.",
    ("result",),
    buckets=buckets.SHORT,
)


def register_gauges(gauges: ProcessGauges, dropped: Callable[[], int]) -> None:
    """Register what is read when somebody asks; `dropped` is the number of records that were lost."""
    gauges.counter("keyferry_decisions_dropped_total", "Records that were lost while the bus took none.", dropped)


def count_decision(request: Request, decision: RoutingDecision, received_ns: int) -> None:
    """Count a decision that was published now; `received_ns` is when its request arrived, by `time.perf_counter_ns`."""
    _DURATION.observe((time.perf_counter_ns() - received_ns) / 1e9)
    if decision.run is not None:
        fallback = decision.run.fallback_reason is not None or decision.run.attempt_number > 1
        _DECISIONS.inc("run", _FALLBACK if fallback else _FIRST_CHOICE)
    elif decision.refused is not None:
        _DECISIONS.inc("refused", decision.refused.failure.failure_class.value)
        if isinstance(request, Reroute):
            # With one failed attempt, there was nothing to fall back to; with more, the fallbacks have failed as well.
            FALLBACKS.inc("none" if len(request.failed_attempts) == 1 else "exhausted")
