"""The recorded series, by group. Pure."""

from deploy.observe.rules import RecordingRule, burn_recordings
from keyferry.contracts.service_levels import BURN_RULES


def _quantile(share: str, histogram: str, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[5m])))"


REQUESTS = [
    RecordingRule("keyferry:requests:rate5m", "sum by (kind, outcome) (rate(keyferry_requests_total[5m]))"),
    RecordingRule(
        "keyferry:request_failures:rate5m", "sum by (failure_class) (rate(keyferry_request_failures_total[5m]))"
    ),
    RecordingRule(
        "keyferry:request_duration_seconds:p95", _quantile("0.95", "keyferry_request_duration_seconds", "kind")
    ),
    RecordingRule("keyferry:first_token_seconds:p95", _quantile("0.95", "keyferry_first_token_seconds")),
    RecordingRule("keyferry:routing_duration_seconds:p99", _quantile("0.99", "keyferry_routing_duration_seconds")),
    RecordingRule("keyferry:attempts:rate5m", "sum by (provider, outcome) (rate(keyferry_attempts_total[5m]))"),
    RecordingRule(
        "keyferry:attempt_failures:ratio_rate10m",
        'sum by (provider) (rate(keyferry_attempts_total{outcome="failed"}[10m]))'
        " / sum by (provider) (rate(keyferry_attempts_total[10m]))",
    ),
    RecordingRule(
        "keyferry:attempt_capacity:used_ratio",
        "sum by (instance) (keyferry_attempts_running) / sum by (instance) (keyferry_attempt_capacity)",
    ),
]
PROCESSES = [
    RecordingRule("keyferry:ledger_delay_seconds:p95", _quantile("0.95", "keyferry_ledger_delay_seconds")),
    RecordingRule("keyferry:consumer_pending:max", "max by (stream, consumer) (keyferry_consumer_pending)"),
    RecordingRule(
        "keyferry:event_loop_lag_seconds:p99",
        _quantile("0.99", "keyferry_event_loop_lag_seconds", "service, instance"),
    ),
    RecordingRule("keyferry:processes_ready:count", "sum by (service) (keyferry_process_ready)"),
]
SERVICE_LEVELS = burn_recordings(frozenset(rule.long for rule in BURN_RULES))
GROUPS: dict[str, list[RecordingRule]] = {
    "keyferry-requests": REQUESTS,
    "keyferry-processes": PROCESSES,
    "keyferry-service-levels": SERVICE_LEVELS,
}
