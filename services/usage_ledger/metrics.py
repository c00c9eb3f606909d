"""What the usage ledger counts: recorded and rejected records, and how long after its end an attempt is in the tables."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from keyferry.contracts.topology import ATTEMPT_FINISHED, REQUEST_DECIDED
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.gauges import ProcessGauges
from keyferry.runtime.metrics.registry import BoundedCounter, BoundedHistogram

_ATTEMPT, _DECISION = "attempt", "decision"
_KINDS = {ATTEMPT_FINISHED.stream: _ATTEMPT, REQUEST_DECIDED.stream: _DECISION}
_RECORDS = BoundedCounter(
    "keyferry_ledger_records_total",
    "Records from the streams: new to the tables, known already, or rejected into the dead letters.",
    ("kind", "result"),
    preset=[(kind, result) for kind in (_ATTEMPT, _DECISION) for result in ("new", "known", "rejected")],
)
_DELAY = BoundedHistogram(
    "keyferry_ledger_delay_seconds",
    "Time from the end of an attempt until its row was committed.",
    buckets=buckets.REQUEST,
)
_UNPRICED = BoundedCounter("keyferry_ledger_unpriced_total", "Attempts recorded without a known price.")


def count_attempts(new: Sequence[LedgerRow], known: int, now: datetime) -> None:
    """Count attempts that were committed now, and those that were in the tables already."""
    _RECORDS.inc(_ATTEMPT, "new", by=len(new))
    _RECORDS.inc(_ATTEMPT, "known", by=known)
    for row in new:
        ended = row.record.started_at + timedelta(milliseconds=row.record.latency_ms)
        _DELAY.observe(max(0.0, (now - ended).total_seconds()))
    if unpriced := sum(row.pricing == "unpriced" for row in new):
        _UNPRICED.inc(by=unpriced)


def count_decisions(new: int, known: int) -> None:
    """Count decisions that were committed, and those that were in the tables already."""
    _RECORDS.inc(_DECISION, "new", by=new)
    _RECORDS.inc(_DECISION, "known", by=known)


def count_rejected(stream: str) -> None:
    """Count a record of a stream that became a dead letter."""
    if (kind := _KINDS.get(stream)) is not None:
        _RECORDS.inc(kind, "rejected")


def register_gauges(gauges: ProcessGauges, dead_letters: Callable[[], int], reachable: Callable[[], bool]) -> None:
    """Register what is read when somebody asks."""
    gauges.gauge("keyferry_dead_letters", "Records that could not be stored and wait for an operator.", dead_letters)
    gauges.gauge("keyferry_database_reachable", "Whether PostgreSQL answered the last time.", reachable)
