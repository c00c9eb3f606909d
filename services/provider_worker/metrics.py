"""What a provider worker counts: attempts and their tokens, refused attempts, key leases, the spool."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import AttemptRecord, Outcome, RequestKind
from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.fallbacks import FALLBACKS
from keyferry.runtime.metrics.gauges import ProcessGauges, Readings
from keyferry.runtime.metrics.registry import BoundedCounter, BoundedHistogram
from services.provider_worker.admission.admission import AdmissionRefusalReason, AttemptAdmission
from services.provider_worker.attempt_end import AttemptEnd
from services.provider_worker.spool import Spool

_OPERATION = ("gen_ai_operation_name", "gen_ai_provider_name")
UNAVAILABLE = "unavailable"
"""The worker itself could not make the attempt: its disk is full, a credit has lapsed, or it does not know the provider."""

_ATTEMPTS = BoundedCounter(
    "keyferry_attempts_total",
    "Attempts that ended, as the ledger records them.",
    ("provider", "outcome", "failure_class"),
)
_REFUSED = BoundedCounter(
    "keyferry_attempts_refused_total",
    "Attempts that were not made: for want of a place of the tenant, the provider or the worker, or since it could not.",
    ("reason",),
    preset=[*((reason.value.replace(" ", "_"),) for reason in AdmissionRefusalReason), (UNAVAILABLE,)],
)
_DURATION = BoundedHistogram(
    "gen_ai_client_operation_duration_seconds",
    "Duration of calls of models; error_type is empty for those that completed (OpenTelemetry's conventions).",
    (*_OPERATION, "error_type"),
    buckets=buckets.GEN_AI_DURATION,
)
_TOKENS = BoundedHistogram(
    "gen_ai_client_token_usage",
    "Tokens of calls of models, as their providers count them (OpenTelemetry's conventions).",
    (*_OPERATION, "gen_ai_token_type"),
    buckets=buckets.GEN_AI_TOKENS,
)
_FIRST_CHUNK = BoundedHistogram(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "Time until the first chunk of a streamed answer (OpenTelemetry's conventions).",
    _OPERATION,
    buckets=buckets.GEN_AI_FIRST_CHUNK,
)


def count_attempt(record: AttemptRecord) -> None:
    """Count an attempt whose result is in the spool."""
    failure_class = "" if record.failure is None else record.failure.failure_class.value
    _ATTEMPTS.inc(record.provider, record.outcome.value, failure_class)
    operation = ("embeddings" if record.kind is RequestKind.EMBEDDING else "chat", record.provider)
    _DURATION.observe(record.latency_ms / 1000, *operation, failure_class)
    used = record.token_usage
    if used.prompt:
        _TOKENS.observe(used.prompt, *operation, "input")
    if used.completion:
        _TOKENS.observe(used.completion, *operation, "output")
    if record.stream and record.first_token_ms is not None:
        _FIRST_CHUNK.observe(record.first_token_ms / 1000, *operation)


def count_left_over(records: Iterable[AttemptRecord]) -> None:
    """Count the attempts that an earlier process of this slot began and did not end."""
    for record in records:
        if record.outcome is Outcome.INDETERMINATE:
            count_attempt(record)


def count_end(run: AttemptRun, end: AttemptEnd) -> None:
    """Count how a request ends that was planned again after a failed attempt, if it ends with this one."""
    if run.failed_attempts:
        FALLBACKS.inc(_FALLBACK_RESULTS.get(end.outcome, "exhausted"))


_FALLBACK_RESULTS = {Outcome.COMPLETED: "served", Outcome.CANCELLED: "cancelled"}


def count_refusal(run: AttemptRun, reason: str, *, final: bool) -> None:
    """Count an attempt that is not made; `final` where its request ends with it."""
    _REFUSED.inc(reason.replace(" ", "_"))
    if final and run.failed_attempts:
        FALLBACKS.inc("exhausted")


def register_gauges(
    gauges: ProcessGauges, admission: AttemptAdmission, spool: Spool, capacity: int, dropped: Callable[[], int]
) -> None:
    """Register what is read when somebody asks."""
    provider = ("provider",)
    gauges.gauge(
        "keyferry_attempts_running", "Attempts under way.", lambda: _by_provider(admission, waiting=False), provider
    )
    gauges.gauge(
        "keyferry_attempts_waiting",
        "Attempts that wait for a place.",
        lambda: _by_provider(admission, waiting=True),
        provider,
    )
    gauges.gauge("keyferry_attempt_capacity", "Attempts that this worker runs at once at most.", lambda: capacity)
    gauges.gauge("keyferry_spool_records", "Results that the ledger has not confirmed.", lambda: spool.unconfirmed)
    gauges.gauge("keyferry_spool_bytes", "Size of the spool on disk.", spool.size_bytes)
    gauges.gauge("keyferry_spool_oldest_seconds", "Age of the oldest result in the spool.", spool.oldest_seconds)
    gauges.gauge(
        "keyferry_spool_unreadable", "Lines of an earlier process that could not be read.", lambda: spool.unreadable
    )
    gauges.counter("keyferry_decisions_dropped_total", "Records that were lost while the bus took none.", dropped)


def _by_provider(admission: AttemptAdmission, *, waiting: bool) -> Readings:
    """Return the counts by provider: the names of tenants' own servers stay here."""
    counts: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for name, load in admission.bulkheads.items():
        counts[(name.partition(" ")[0],)] += load[waiting]
    return counts
