"""For each alert a situation in which it fires, and one close to it in which it does not.

Series are written as promtool reads them: a start, a step and how often it is added, one value for each interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.observe.alerts import _NEEDED

ROUTER = 'job="keyferry",service="router",instance="router-1"'
WORKER = 'job="keyferry",service="provider-worker",instance="provider-worker-1"'
LEDGER = 'job="keyferry",service="usage-ledger",instance="usage-ledger-1"'
EVENTS = "keyferry_service_level_events_total"

Series = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AlertCase:
    """The series of both situations. `at` is when to look, in Prometheus's form."""

    alert: str
    severity: str
    fires: Series
    silent: Series
    at: str = "40m"
    interval: str = "1m"
    alerts: int = 1
    """How many fire."""


def constant(value: float) -> str:
    return f"{value}x100"


def growing(step: float) -> str:
    return f"0+{step}x100"


def ready(*missing: str) -> dict[str, str]:
    """Return every service as ready, but those."""
    return {
        f'keyferry_process_ready{{job="keyferry",service="{name}",instance="{name}-1"}}': constant(
            int(name not in missing)
        )
        for name in _NEEDED
    }


def events(level: str, good: float, bad: float) -> dict[str, str]:
    labels = f'service="ingress",instance="ingress-1",level="{level}"'
    return {
        f'{EVENTS}{{{labels},result="good"}}': f"0+{good}x40",
        f'{EVENTS}{{{labels},result="bad"}}': f"0+{bad}x40",
    }


def gauge(alert: str, severity: str, series: str, bad: float, fine: float) -> AlertCase:
    """Return the case of a gauge above a limit."""
    return AlertCase(alert, severity, {series: constant(bad)}, {series: constant(fine)})


def counter(alert: str, severity: str, series: str, step: float, fine: float = 0) -> AlertCase:
    """Return the case of a counter that grows by `step` a minute."""
    return AlertCase(alert, severity, {series: growing(step)}, {series: growing(fine)})


def histogram(name: str, labels: str, below: str, above: str, share: float) -> dict[str, str]:
    """Return 100 observations a minute, this share of them above the bound `below` and under `above`."""
    return {
        f'{name}_bucket{{{labels}le="{below}"}}': growing(100 * (1 - share)),
        f'{name}_bucket{{{labels}le="{above}"}}': growing(100),
        f'{name}_bucket{{{labels}le="+Inf"}}': growing(100),
    }


def attempts(failed: float, completed: float) -> dict[str, str]:
    name = f'keyferry_attempts_total{{{WORKER},provider="groq"'
    return {
        f'{name},outcome="failed",failure_class="server"}}': growing(failed),
        f'{name},outcome="completed",failure_class=""}}': growing(completed),
    }


def recorded(made: float, stored: float) -> dict[str, str]:
    return attempts(0, made) | {
        f'keyferry_ledger_records_total{{{LEDGER},kind="attempt",result="new"}}': growing(stored)
    }


_NOT_READY = f"keyferry_process_ready{{{ROUTER}}}"
_DRAINING = f"keyferry_process_draining{{{ROUTER}}}"
_RUNNING = f'keyferry_attempts_running{{{WORKER},provider="groq"}}'
_CAPACITY = f"keyferry_attempt_capacity{{{WORKER}}}"
_UNPRICED = f"keyferry_ledger_unpriced_total{{{LEDGER}}}"
_PENDING = f'keyferry_consumer_pending{{{LEDGER},stream="ATTEMPTS",consumer="usage-ledger"}}'
_LAG, _DELAY = "keyferry_event_loop_lag_seconds", "keyferry_ledger_delay_seconds"

_OF_SMALL_TARGETS = {"page": (75.0, 4.0), "ticket": (20.0, 4.0)}
_BAD_SHARES: dict[str, dict[str, tuple[float, float]]] = {
    "routing": {"page": (1.5, 0.05), "ticket": (0.4, 0.05)},
    **dict.fromkeys(("fallback", "management", "dashboard"), _OF_SMALL_TARGETS),
}
"""By level and severity the shares of bad events, in percent, with which the alert is raised and with which it is not."""
_BUDGETS = [
    AlertCase(
        f"KeyferryErrorBudget{level.capitalize()}",
        severity,
        events(level, 100 - bad, bad),
        events(level, 100 - spared, spared),
        at="3h",
        interval="5m",
    )
    for level, rates in _BAD_SHARES.items()
    for severity, (bad, spared) in rates.items()
]
CASES = (
    AlertCase("KeyferryServiceUnavailable", "page", ready("router"), ready()),
    AlertCase(
        "KeyferryServiceUnavailable",
        "page",
        {name: value for name, value in ready().items() if "key-vault" not in name},  # not even scraped
        ready(),
    ),
    gauge("KeyferryProcessDown", "ticket", f"up{{{ROUTER}}}", 0, 1),
    AlertCase(
        "KeyferryProcessNotReady",
        "ticket",
        {_NOT_READY: constant(0), _DRAINING: constant(0)},
        {_NOT_READY: constant(0), _DRAINING: constant(1)},
    ),
    gauge("KeyferryProcessDegraded", "ticket", f"keyferry_process_degraded{{{LEDGER}}}", 2, 0),
    gauge("KeyferryBusDisconnected", "page", f"keyferry_bus_connected{{{ROUTER}}}", 0, 1),
    counter("KeyferryBusUnstable", "ticket", f"keyferry_bus_reconnects_total{{{ROUTER}}}", 0.5, 0.1),
    gauge("KeyferryDatabaseUnreachable", "page", f"keyferry_database_reachable{{{LEDGER}}}", 0, 1),
    AlertCase(
        "KeyferryEventLoopLag",
        "ticket",
        histogram(_LAG, f"{ROUTER},", "0.25", "0.5", 0.05),
        histogram(_LAG, f"{ROUTER},", "0.25", "0.5", 0.005),
    ),
    AlertCase(
        "KeyferryFileDescriptors",
        "ticket",
        {f"process_open_fds{{{ROUTER}}}": constant(900), f"process_max_fds{{{ROUTER}}}": constant(1024)},
        {f"process_open_fds{{{ROUTER}}}": constant(700), f"process_max_fds{{{ROUTER}}}": constant(1024)},
    ),
    AlertCase(
        "KeyferryCertificateEnds",
        "ticket",
        {f'keyferry_certificate_expiry_seconds{{{ROUTER},use="nats"}}': constant(13 * 24 * 3600)},
        {f'keyferry_certificate_expiry_seconds{{{ROUTER},use="nats"}}': constant(15 * 24 * 3600)},
        at="90m",
    ),
    AlertCase(
        "KeyferryMixedVersions",
        "ticket",
        {
            f'keyferry_build_info{{{ROUTER},version="1"}}': "1x200",
            f'keyferry_build_info{{{WORKER},version="2"}}': "1x200",
        },
        {
            f'keyferry_build_info{{{ROUTER},version="2"}}': "1x200",
            f'keyferry_build_info{{{WORKER},version="2"}}': "1x200",
        },
        at="90m",
    ),
    AlertCase("KeyferryAttemptFailures", "ticket", attempts(60, 40), attempts(40, 60)),
    AlertCase(
        "KeyferryAttemptFailures", "ticket", attempts(60, 40), attempts(1, 0)
    ),  # one attempt a minute is no trend
    gauge("KeyferryCircuitOpen", "ticket", f'keyferry_circuits{{{ROUTER},provider="groq",state="open"}}', 3, 0),
    AlertCase(
        "KeyferryAttemptCapacity",
        "ticket",
        {_RUNNING: constant(95), _CAPACITY: constant(100)},
        {_RUNNING: constant(85), _CAPACITY: constant(100)},
    ),
    counter("KeyferryAttemptsRefused", "ticket", f'keyferry_attempts_refused_total{{{WORKER},reason="worker"}}', 60, 1),
    counter(
        "KeyferryKeyLeases",
        "page",
        f'keyferry_key_lease_duration_seconds_count{{{WORKER},result="unavailable"}}',
        60,
        1,
    ),
    counter("KeyferryLimitsUncounted", "page", f'keyferry_limit_refusals_total{{{ROUTER},limit="uncounted"}}', 6),
    AlertCase("KeyferryLedgerStopped", "page", recorded(60, 0), recorded(60, 60)),
    AlertCase("KeyferryLedgerStopped", "page", recorded(60, 0), recorded(0, 0)),  # nobody sends anything
    AlertCase(
        "KeyferryLedgerDelay",
        "ticket",
        histogram(_DELAY, f"{LEDGER},", "60", "120", 0.2),
        histogram(_DELAY, f"{LEDGER},", "60", "120", 0.02),
    ),
    gauge("KeyferryConsumerBacklog", "ticket", _PENDING, 60_000, 40_000),
    gauge("KeyferryDeadLetters", "ticket", f"keyferry_dead_letters{{{LEDGER}}}", 1, 0),
    gauge("KeyferrySpoolOld", "ticket", f"keyferry_spool_oldest_seconds{{{WORKER}}}", 400, 200),
    gauge("KeyferrySpoolUnreadable", "ticket", f"keyferry_spool_unreadable{{{WORKER}}}", 1, 0),
    counter("KeyferryDecisionsDropped", "ticket", f"keyferry_decisions_dropped_total{{{ROUTER}}}", 1),
    counter("KeyferryUnpricedAttempts", "ticket", _UNPRICED, 1),
    *_BUDGETS,
    # Three of four fail, in an installation with two requests an hour.
    AlertCase(
        "KeyferryErrorBudgetRouting",
        "page",
        events("routing", 25, 75),
        events("routing", 0.05, 0.15),
        at="3h",
        interval="5m",
    ),
)
