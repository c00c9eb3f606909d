"""The alerts, each with its runbook. Pure.

`page` wakes somebody: requests fail now, or will soon. Everything else is a `ticket`.
"""

from datetime import timedelta

from deploy.observe.rules import PrometheusAlert, bad_events, bad_ratio, budget_of
from keyferry.contracts.service_levels import BURN_RULES, ServiceLevelName, Severity
from keyferry.contracts.topology import SERVICES

_PAGE, _TICKET = Severity.PAGE, Severity.TICKET
_MINUTE = timedelta(minutes=1)
_MIN_BAD_EVENTS = 10
"""As `keyferry slo` has it: fewer raise no alert about an error budget."""
_NEEDED = tuple(role.value for role in SERVICES if role.value not in ("billing", "notifier"))
"""Services without which requests fail or are not recorded."""


def _missing() -> str:
    absent = " or ".join(f'absent(keyferry_process_ready{{service="{name}"}})' for name in _NEEDED)
    return f"{absent} or keyferry:processes_ready:count == 0"


AVAILABILITY = [
    PrometheusAlert(
        "KeyferryServiceUnavailable",
        _missing(),
        _PAGE,
        "No process of {{ $labels.service }} is ready",
        "Requests that need {{ $labels.service }} fail or wait until a process of it is ready.",
        2 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryProcessDown",
        'up{job="keyferry"} == 0',
        _TICKET,
        "{{ $labels.instance }} does not answer its scrapes",
        "The process has ended, hangs, or its operations port cannot be reached. Others of its service go on.",
        5 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryProcessNotReady",
        "keyferry_process_ready == 0 and on (instance) keyferry_process_draining == 0",
        _TICKET,
        "{{ $labels.instance }} runs, and is not ready",
        "It waits for the bus, for its database or for a view; `/readyz` says for which.",
        5 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryProcessDegraded",
        "keyferry_process_degraded > 0",
        _TICKET,
        "{{ $labels.instance }} reports {{ $value }} things to attend to",
        "It serves requests; `keyferry status` says what is wrong.",
        15 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryBusDisconnected",
        "keyferry_bus_connected == 0",
        _PAGE,
        "{{ $labels.instance }} has no connection to NATS",
        "It can neither take nor pass on requests.",
        _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryBusUnstable",
        "increase(keyferry_bus_reconnects_total[15m]) > 3",
        _TICKET,
        "{{ $labels.instance }} reconnected to NATS {{ $value | humanize }} times in 15 minutes",
        "Requests that are under way when the connection breaks fail.",
        5 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryDatabaseUnreachable",
        "keyferry_database_reachable == 0",
        _PAGE,
        "{{ $labels.instance }} cannot reach PostgreSQL",
        "Records wait in the streams. Requests fail when credit leases end.",
        2 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryEventLoopLag",
        "keyferry:event_loop_lag_seconds:p99 > 0.25",
        _TICKET,
        "{{ $labels.instance }} runs its timers {{ $value | humanizeDuration }} late",
        "The process has more work than one core can do, or the machine is overloaded. Latency grows for everybody.",
        10 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryFileDescriptors",
        "process_open_fds / process_max_fds > 0.8",
        _TICKET,
        "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its file descriptors",
        "At the limit it accepts no connection.",
        5 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryCertificateEnds",
        "keyferry_certificate_expiry_seconds < 14 * 24 * 3600",
        _TICKET,
        "The certificate of {{ $labels.instance }} for {{ $labels.use }} ends in {{ $value | humanizeDuration }}",
        "Nobody can connect with it afterwards. A new file is taken up without a restart.",
        timedelta(hours=1),
    ),
    PrometheusAlert(
        "KeyferryMixedVersions",
        "count(count by (version) (keyferry_build_info)) > 1",
        _TICKET,
        "{{ $value }} versions of Keyferry run side by side",
        "Two versions may share a bus while one replaces the other, not for good.",
        timedelta(hours=1),
    ),
]
REQUESTS = [
    PrometheusAlert(
        "KeyferryAttemptFailures",
        "keyferry:attempt_failures:ratio_rate10m > 0.5"
        " and on (provider) sum by (provider) (rate(keyferry_attempts_total[10m])) > 0.1",
        _TICKET,
        "{{ $value | humanizePercentage }} of the attempts at {{ $labels.provider }} fail",
        "Requests fall back where they may; the others fail.",
        10 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryCircuitOpen",
        'sum by (provider) (keyferry_circuits{state="open"}) > 0',
        _TICKET,
        "{{ $value }} circuits of {{ $labels.provider }} have been open for ten minutes",
        "No request is sent to these models, keys or regions until a probe succeeds.",
        10 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryAttemptCapacity",
        "keyferry:attempt_capacity:used_ratio > 0.9",
        _TICKET,
        "{{ $labels.instance }} runs {{ $value | humanizePercentage }} of the attempts that it may",
        "Further attempts wait, and are refused when they have waited too long.",
        10 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryAttemptsRefused",
        'sum by (reason) (rate(keyferry_attempts_refused_total{reason=~"worker|provider|unavailable"}[5m])) > 0.1',
        _TICKET,
        "Workers refuse {{ $value | humanize }} attempts a second ({{ $labels.reason }})",
        "There is no place for them: callers get an error, and may try again.",
        5 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryKeyLeases",
        'sum(rate(keyferry_key_lease_duration_seconds_count{result="unavailable"}[5m])) > 0.05',
        _PAGE,
        "Workers get no provider keys from the vault",
        "Requests with keys that are not leased yet fail, and soon all of them.",
        2 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryLimitsUncounted",
        'sum(rate(keyferry_limit_refusals_total{limit="uncounted"}[5m])) > 0',
        _PAGE,
        "Requests are refused because limits cannot be counted",
        "The counters on the bus do not answer, and this installation admits no request without them.",
        2 * _MINUTE,
    ),
]
RECORDS = [
    PrometheusAlert(
        "KeyferryLedgerStopped",
        'sum(rate(keyferry_attempts_total[10m])) > 0 and sum(rate(keyferry_ledger_records_total{kind="attempt"}[10m])) == 0',
        _PAGE,
        "Attempts are made, and none is recorded",
        "Records wait in the workers' spools and in the streams. Budgets and credits are not up to date.",
        5 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryLedgerDelay",
        "keyferry:ledger_delay_seconds:p95 > 60",
        _TICKET,
        "Attempts are recorded {{ $value | humanizeDuration }} late",
        "Usage, budgets and credits show the state of then.",
        10 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryConsumerBacklog",
        "keyferry:consumer_pending:max > 50000",
        _TICKET,
        "{{ $labels.consumer }} is {{ $value | humanize }} messages behind in {{ $labels.stream }}",
        "A stream that is full takes no more records; then they wait in the workers' spools.",
        10 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferryDeadLetters",
        "max(keyferry_dead_letters) > 0",
        _TICKET,
        "{{ $value }} records could not be stored",
        "They are kept with the reason, and can be replayed once it is gone.",
        _MINUTE,
    ),
    PrometheusAlert(
        "KeyferrySpoolOld",
        "max by (instance) (keyferry_spool_oldest_seconds) > 300",
        _TICKET,
        "The oldest unconfirmed record of {{ $labels.instance }} is {{ $value | humanizeDuration }} old",
        "It is on that worker's disk only. Keep the disk.",
        5 * _MINUTE,
    ),
    PrometheusAlert(
        "KeyferrySpoolUnreadable",
        "max by (instance) (keyferry_spool_unreadable) > 0",
        _TICKET,
        "{{ $value }} lines of the spool of {{ $labels.instance }} cannot be read",
        "Attempts may be missing in the ledger. The worker keeps the lines.",
    ),
    PrometheusAlert(
        "KeyferryDecisionsDropped",
        "increase(keyferry_decisions_dropped_total[15m]) > 0",
        _TICKET,
        "{{ $labels.instance }} dropped {{ $value | humanize }} decision records",
        "Their requests were answered and are charged, but nobody can see why they went where they went.",
    ),
    PrometheusAlert(
        "KeyferryUnpricedAttempts",
        "sum(increase(keyferry_ledger_unpriced_total[1h])) > 0",
        _TICKET,
        "{{ $value | humanize }} attempts of the last hour have no price",
        "Their cost is unknown: budgets do not count it, and nobody is charged.",
        10 * _MINUTE,
    ),
]


def _budget_alerts() -> list[PrometheusAlert]:
    alerts = []
    for name in ServiceLevelName:
        for severity in (_PAGE, _TICKET):
            conditions = " or ".join(
                f'({bad_ratio(rule.long)}{{level="{name.value}"}} > {rule.rate_permille / 1000:g} * {budget_of(name)}'
                f' and {bad_ratio(rule.short)}{{level="{name.value}"}} > {rule.rate_permille / 1000:g} * {budget_of(name)}'
                f' and {bad_events(rule.long)}{{level="{name.value}"}} >= {_MIN_BAD_EVENTS})'
                for rule in BURN_RULES
                if rule.severity is severity
            )
            alerts.append(
                PrometheusAlert(
                    f"KeyferryErrorBudget{name.value.capitalize()}",
                    conditions,
                    severity,
                    f"The error budget of {name.value} is spent too fast:"
                    " {{ $value | humanizePercentage }} of the events are bad",
                    "`keyferry slo` shows what is left of it, and how fast it is spent.",
                )
            )
    return alerts


GROUPS: dict[str, list[PrometheusAlert]] = {
    "keyferry-availability": AVAILABILITY,
    "keyferry-requests": REQUESTS,
    "keyferry-records": RECORDS,
    "keyferry-error-budgets": _budget_alerts(),
}
ALERTS = [alert for group in GROUPS.values() for alert in group]
