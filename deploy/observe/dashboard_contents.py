"""What each dashboard shows. Pure."""

from datetime import timedelta

from deploy.observe.console_links import (
    DEAD_LETTERS_PAGE,
    OBJECTIVES_PAGE,
    PROVIDER_HEALTH_PAGE,
    SERVICES_PAGE,
    label,
    requests,
)
from deploy.observe.dashboards import Dashboard, Panel
from deploy.observe.rules import EVENTS, bad_ratio
from keyferry.contracts.service_levels import OBJECTIVES, PERIOD_DAYS, PERMILLE

_RED_ABOVE_ZERO = (("green", None), ("red", 1.0))
_RED_AT_ZERO = (("red", None), ("green", 1.0))
_READY = "keyferry:processes_ready:count"
_FIRING = 'sum by (alertname, severity) (ALERTS{alertname=~"Keyferry.*", alertstate="firing"})'
_HOUR, _THREE_DAYS = timedelta(hours=1), timedelta(days=3)
_BY_OUTCOME = requests("Requests of the tenant that ended so", outcome=label("outcome"))
_BY_CLASS = requests("Requests of the tenant that failed so", error_class=label("failure_class"))
_OF_PROVIDER = requests("Requests of the tenant to this provider", provider=label("provider"))
_FAILED_AT_PROVIDER = requests(
    "Requests of the tenant that failed so here", provider=label("provider"), error_class=label("failure_class")
)
_TARGETS = {name: objective.target_permille / PERMILLE for name, objective in OBJECTIVES.items()}


def _p(share: str, histogram: str, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[5m])))"


def _attained() -> Panel:
    days = f"{PERIOD_DAYS}d"
    query = (
        f'sum by (level) (increase({EVENTS}{{result="good"}}[{days}])) / sum by (level) (increase({EVENTS}[{days}]))'
    )
    return Panel(
        f"Attained in {PERIOD_DAYS} days",
        {query: "{{level}}"},
        "percentunit",
        "Objectives: " + ", ".join(f"{name.value} {target:.1%}" for name, target in _TARGETS.items()),
        "stat",
        width=12,
        link=OBJECTIVES_PAGE,
    )


OVERVIEW = Dashboard(
    "keyferry-overview",
    "Keyferry: overview",
    "Is everything all right? Objectives, requests, and whether every service runs.",
    {
        "Objectives": [
            _attained(),
            Panel(
                "Alerts that fire",
                {_FIRING: "{{alertname}} ({{severity}})"},
                kind="stat",
                width=12,
                thresholds=_RED_ABOVE_ZERO,
            ),
            Panel("Bad events, 1 hour", {bad_ratio(_HOUR): "{{level}}"}, "percentunit", width=12, link=OBJECTIVES_PAGE),
            Panel(
                "Bad events, 3 days",
                {bad_ratio(_THREE_DAYS): "{{level}}"},
                "percentunit",
                width=12,
                link=OBJECTIVES_PAGE,
            ),
        ],
        "Requests": [
            Panel(
                "Requests by outcome",
                {"sum by (outcome) (keyferry:requests:rate5m)": "{{outcome}}"},
                "reqps",
                link=_BY_OUTCOME,
            ),
            Panel("Latency, p95", {"keyferry:request_duration_seconds:p95": "{{kind}}"}, "s"),
            Panel("First token, p95", {"keyferry:first_token_seconds:p95": "p95"}, "s"),
        ],
        "Processes": [
            Panel(
                "Ready processes",
                {"keyferry:processes_ready:count": "{{service}}"},
                kind="stat",
                width=16,
                thresholds=_RED_AT_ZERO,
                link=SERVICES_PAGE,
            ),
            Panel("Versions", {"count by (version) (keyferry_build_info)": "{{version}}"}, kind="stat"),
        ],
    },
)
REQUESTS = Dashboard(
    "keyferry-requests",
    "Keyferry: requests and providers",
    "Which requests fail, where, and how long each step takes.",
    {
        "Requests": [
            Panel(
                "Requests by kind and outcome",
                {"keyferry:requests:rate5m": "{{kind}} {{outcome}}"},
                "reqps",
                link=_BY_OUTCOME,
            ),
            Panel(
                "Failures by class", {"keyferry:request_failures:rate5m": "{{failure_class}}"}, "reqps", link=_BY_CLASS
            ),
            Panel(
                "HTTP answers by status",
                {"sum by (status) (rate(keyferry_http_requests_total[5m]))": "{{status}}"},
                "reqps",
            ),
        ],
        "Routing": [
            Panel(
                "Decisions",
                {"sum by (result, reason) (rate(keyferry_routing_decisions_total[5m]))": "{{result}} {{reason}}"},
                "reqps",
            ),
            Panel("Time to decide, p99", {"keyferry:routing_duration_seconds:p99": "p99"}, "s"),
            Panel("Fallbacks", {"sum by (result) (rate(keyferry_fallbacks_total[5m]))": "{{result}}"}, "reqps"),
            Panel(
                "Refused by limits", {"sum by (limit) (rate(keyferry_limit_refusals_total[5m]))": "{{limit}}"}, "reqps"
            ),
            Panel(
                "Credit leases, p95",
                {_p("0.95", "keyferry_credit_lease_duration_seconds", "result"): "{{result}}"},
                "s",
            ),
        ],
        "Providers": [
            Panel("Attempts", {"keyferry:attempts:rate5m": "{{provider}} {{outcome}}"}, "reqps", link=_OF_PROVIDER),
            Panel(
                "Share that fails",
                {"keyferry:attempt_failures:ratio_rate10m": "{{provider}}"},
                "percentunit",
                link=PROVIDER_HEALTH_PAGE,
            ),
            Panel(
                "Failures by class",
                {
                    'sum by (provider, failure_class) (rate(keyferry_attempts_total{outcome="failed"}[5m]))': (
                        "{{provider}} {{failure_class}}"
                    )
                },
                "reqps",
                link=_FAILED_AT_PROVIDER,
            ),
            Panel(
                "Circuits that are not closed",
                {"sum by (provider, state) (keyferry_circuits)": "{{provider}} {{state}}"},
                link=PROVIDER_HEALTH_PAGE,
            ),
            Panel(
                "Call, p95",
                {
                    _p(
                        "0.95", "gen_ai_client_operation_duration_seconds", "gen_ai_provider_name"
                    ): "{{gen_ai_provider_name}}"
                },
                "s",
            ),
            Panel(
                "First chunk, p95",
                {
                    _p("0.95", "gen_ai_client_operation_time_to_first_chunk_seconds", "gen_ai_provider_name"): (
                        "{{gen_ai_provider_name}}"
                    )
                },
                "s",
            ),
            Panel(
                "Tokens a second",
                {
                    "sum by (gen_ai_provider_name, gen_ai_token_type) (rate(gen_ai_client_token_usage_sum[5m]))": (
                        "{{gen_ai_provider_name}} {{gen_ai_token_type}}"
                    )
                },
            ),
            Panel("Attempts under way", {"sum by (provider) (keyferry_attempts_running)": "{{provider}}"}),
            Panel("Attempts that wait", {"sum by (provider) (keyferry_attempts_waiting)": "{{provider}}"}),
        ],
    },
)
RECORDS = Dashboard(
    "keyferry-records",
    "Keyferry: records and the bus",
    "Is everything that happened recorded, and how far behind are the readers of the streams?",
    {
        "Ledger": [
            Panel(
                "Records",
                {"sum by (kind, result) (rate(keyferry_ledger_records_total[5m]))": "{{kind}} {{result}}"},
                "cps",
            ),
            Panel("Delay, p95", {"keyferry:ledger_delay_seconds:p95": "p95"}, "s"),
            Panel("Unpriced attempts in an hour", {"sum(increase(keyferry_ledger_unpriced_total[1h]))": "unpriced"}),
            Panel(
                "Dead letters",
                {"max(keyferry_dead_letters)": "records"},
                thresholds=_RED_ABOVE_ZERO,
                link=DEAD_LETTERS_PAGE,
            ),
            Panel(
                "Decisions dropped",
                {"sum by (instance) (increase(keyferry_decisions_dropped_total[1h]))": "{{instance}}"},
            ),
        ],
        "Streams": [
            Panel("Not yet delivered", {"keyferry:consumer_pending:max": "{{stream}} {{consumer}}"}),
            Panel(
                "Delivered, not acknowledged",
                {"max by (stream, consumer) (keyferry_consumer_ack_pending)": "{{stream}} {{consumer}}"},
            ),
            Panel("Reconnects in 15 minutes", {"increase(keyferry_bus_reconnects_total[15m])": "{{instance}}"}),
        ],
        "Spools of the workers": [
            Panel("Unconfirmed records", {"sum by (instance) (keyferry_spool_records)": "{{instance}}"}),
            Panel("Bytes on disk", {"sum by (instance) (keyferry_spool_bytes)": "{{instance}}"}, "bytes"),
            Panel("Age of the oldest", {"max by (instance) (keyferry_spool_oldest_seconds)": "{{instance}}"}, "s"),
        ],
        "Keys": [
            Panel(
                "Key leases of workers, p99",
                {_p("0.99", "keyferry_key_lease_duration_seconds", "result"): "{{result}}"},
                "s",
            ),
            Panel(
                "Leases by the vault", {"sum by (result) (rate(keyferry_vault_leases_total[5m]))": "{{result}}"}, "cps"
            ),
            Panel("Time in the vault, p99", {_p("0.99", "keyferry_vault_lease_duration_seconds"): "p99"}, "s"),
        ],
    },
)
PROCESSES = Dashboard(
    "keyferry-processes",
    "Keyferry: processes",
    "Each process: whether it is ready, and what it uses.",
    {
        "State": [
            Panel(
                "Ready",
                {"keyferry_process_ready": "{{instance}}"},
                kind="stat",
                width=24,
                thresholds=_RED_AT_ZERO,
                link=SERVICES_PAGE,
            ),
            Panel(
                "Things to attend to",
                {"keyferry_process_degraded > 0": "{{instance}}"},
                thresholds=_RED_ABOVE_ZERO,
                link=SERVICES_PAGE,
            ),
            Panel("Event loop lag, p99", {"keyferry:event_loop_lag_seconds:p99": "{{instance}}"}, "s"),
            Panel("Connected to the bus", {"keyferry_bus_connected": "{{instance}}"}),
        ],
        "Resources": [
            Panel("CPU", {"rate(process_cpu_seconds_total[5m])": "{{instance}}"}, "percentunit"),
            Panel("Memory", {"process_resident_memory_bytes": "{{instance}}"}, "bytes"),
            Panel("Files", {"process_open_fds": "{{instance}}"}),
            Panel(
                "Database connections",
                {"sum by (instance, state) (keyferry_database_connections)": "{{instance}} {{state}}"},
            ),
            Panel("Attempts against capacity", {"keyferry:attempt_capacity:used_ratio": "{{instance}}"}, "percentunit"),
            Panel("Uptime", {"time() - process_start_time_seconds": "{{instance}}"}, "s"),
        ],
        "Management API": [
            Panel(
                "Requests by route",
                {'topk(10, sum by (route) (rate(keyferry_http_requests_total{service="console"}[5m])))': "{{route}}"},
                "reqps",
                width=12,
            ),
            Panel(
                "Latency by route, p95",
                {
                    "topk(10, histogram_quantile(0.95, sum by (route, le)"
                    ' (rate(keyferry_http_request_duration_seconds_bucket{service="console"}[15m]))))': "{{route}}"
                },
                "s",
                width=12,
            ),
        ],
    },
)
DASHBOARDS = (OVERVIEW, REQUESTS, RECORDS, PROCESSES)
