"""Which traces are kept: a share chosen at their start, and those that turn out to be worth a look. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from keyferry.contracts.failure import FailureClass

KEPT_SECONDS = 30.0
"""For how long after a trace was announced the spans that end later are stored, too."""
_BURST_SECONDS = 5.0
_MAX_KEPT = 20_000


class KeepReason(StrEnum):
    """Why a trace is kept."""

    SAMPLED = "sampled"
    """It belongs to the share that is kept of all."""
    CALLER = "caller"
    """Its caller keeps it."""
    ERROR = "error"
    SLOW = "slow"
    FALLBACK = "fallback"
    RESENT = "resent"
    """Nobody took the request that was sent first."""
    CANCELLED = "cancelled"


_EXPECTED = frozenset(
    failure.value
    for failure in (
        *(FailureClass.BAD_REQUEST, FailureClass.CONTEXT_LENGTH, FailureClass.CONTENT_FILTER, FailureClass.NOT_FOUND),
        *(FailureClass.POLICY, FailureClass.LIMIT, FailureClass.CREDIT, FailureClass.BUDGET),
    )
)
"""Failures that a request brings on itself, or that its tenant wants: what the system did is in the decision."""


def keep_reason(error: str | None, seconds: float, slow_seconds: float) -> KeepReason | None:
    """Return why the trace of a request is kept that ended with `error` after `seconds`, or None."""
    if error == FailureClass.CANCELLED:
        return KeepReason.CANCELLED
    if error is not None and error not in _EXPECTED:
        return KeepReason.ERROR
    return KeepReason.SLOW if seconds > slow_seconds else None


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What a process records and keeps."""

    sample_ratio: float = 0.0
    """The share, from 0 to 1, of the traces that begin here and are kept whatever becomes of them."""
    slow_seconds: float = 30.0
    """A request that takes longer is kept."""
    max_per_second: float = 20.0
    """How many traces this process may have kept, on average, so that neither callers nor an outage fill the stream."""
    buffer_spans: int = 8192
    """Spans that wait in memory for a reason to be kept; 0 records nothing at all."""


class KeepBudget:
    """A token bucket of traces: `per_second` on average, five seconds' worth at once."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._capacity = max(1.0, per_second * _BURST_SECONDS) if per_second else 0.0
        self._left = self._capacity
        self._at = now

    def take(self, now: float) -> bool:
        """Take one trace, and return whether there was one left. `now` is in seconds of a clock that never goes back."""
        self._left = min(self._capacity, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class KeptTraces:
    """The traces that are kept, each for `KEPT_SECONDS` from its latest announcement; the oldest make way for new ones."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __contains__(self, trace_id: str) -> bool:
        return trace_id in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, trace_id: str, now: float) -> bool:
        """Keep a trace from `now` on, and return whether it is new here."""
        known = self._until.pop(trace_id, None) is not None
        self._until[trace_id] = now + KEPT_SECONDS
        if len(self._until) > _MAX_KEPT:
            del self._until[next(iter(self._until))]
        return not known

    def expire(self, now: float) -> None:
        """Forget the traces whose time is over."""
        over = []
        for trace_id, until in self._until.items():
            if until > now:
                break
            over.append(trace_id)
        for trace_id in over:
            del self._until[trace_id]
