"""When a target gets no work, for how long, and why.

closed -> open     enough attempts failed, or several in a row found nobody to talk to
open -> open       a trial failed: the next rest is twice as long
open -> closed     a trial succeeded
any -> cooling     it asked to be left alone for a while; that is no failure
cooling -> closed  that while is over

Nothing happens when an open circuit's `until` passes: from then on whoever has the entry may try, even if this service is gone.
"""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.window import Tally

CLOCK_SKEW = timedelta(milliseconds=500)
"""By how much the clocks of a router, a worker and the monitor may differ."""
LONGEST_COOLING = timedelta(minutes=10)
_LEAST_EXTENSION = timedelta(seconds=1)
"""A burst of refusals names almost the same moment again and again; that is no news."""
_JITTER = 0.2
NEVER = datetime.fromtimestamp(0, UTC)
"""Before everything that happens here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """When circuits open and how long they stay open."""

    window: timedelta = timedelta(seconds=10)
    min_attempts: int = 5
    failure_percent: int = 50
    unreachable_in_a_row: int = 3
    first_rest: timedelta = timedelta(seconds=5)
    longest_rest: timedelta = timedelta(seconds=60)
    longest_cooling: timedelta = LONGEST_COOLING
    forgotten_after: timedelta = timedelta(minutes=10)
    """How long after its `until` an open circuit is closed although nobody tried."""

    def rest(self, openings: int, jitter: float) -> timedelta:
        """How long the `openings`-th opening in a row lasts. `jitter` of 0 to 1 takes up to a fifth off, so that circuits
        that opened together are not tried together."""
        doublings = min(openings - 1, 32)
        return min(self.longest_rest, self.first_rest * (1 << doublings)) * (1 - _JITTER * jitter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The state of one target."""

    state: CircuitState = CircuitState.CLOSED
    reason: str = "nothing speaks against giving it work"
    until: datetime = NEVER
    """When work may be tried again."""
    changed_at: datetime = NEVER
    openings: int = 0
    """In a row, without a success in between."""
    counts_from: datetime = NEVER
    """Attempts that started earlier were on their way before the rest was over, and belong to trouble that is known already."""

    def is_probe(self, attempt: ObservedAttempt) -> bool:
        """Whether an attempt was begun after the rest of an open circuit."""
        return attempt.started_at >= self.counts_from


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSummary:
    """What the decision on an attempt is made from: the window, the attempt itself included."""

    tally: Tally
    unreachable_in_a_row: int


def apply_attempt(
    circuit: Circuit,
    attempt: ObservedAttempt,
    summary: WindowSummary,
    *,
    now: datetime,
    jitter: float,
    policy: CircuitPolicy,
) -> Circuit:
    """Return the circuit after `attempt`; the same object if nothing changes. `jitter` is between 0 and 1."""
    if attempt.evidence is Evidence.NEUTRAL:
        return circuit
    if attempt.evidence is Evidence.RETRY_LATER:
        return _cool_down(circuit, attempt, now, policy)
    if circuit.state is CircuitState.OPEN:
        if not circuit.is_probe(attempt):
            return circuit
        if attempt.evidence is Evidence.SUCCESS:
            rested = _format_span(now - circuit.changed_at)
            reason = f"a trial succeeded in {attempt.latency_ms} ms, {rested} after the circuit had opened"
            return _close(circuit, reason, now)
        reason = f"the trial failed with {attempt.failure_class}, opening {circuit.openings + 1} in a row"
        return _open(circuit, reason, now, jitter, policy)
    reasons = _reason_to_open(attempt, summary, policy)
    return circuit if reasons is None else _open(circuit, reasons, now, jitter, policy)


def apply_time(circuit: Circuit, *, now: datetime, policy: CircuitPolicy) -> Circuit:
    """The circuit as of `now`; the same object where nothing changes."""
    if circuit.state is CircuitState.COOLING and now >= circuit.until:
        return _close(circuit, "the time for which it asked to be left alone is over", now)
    if circuit.state is CircuitState.OPEN and now >= circuit.until + policy.forgotten_after:
        quiet = _format_span(policy.forgotten_after)
        return _close(circuit, f"nobody has tried for {quiet} since it might be tried again", now)
    return circuit


def restore_circuit(health: Health, *, now: datetime, policy: CircuitPolicy) -> Circuit:
    """The circuit behind an entry that an earlier or another process of the monitor has written.

    Whatever a wrong clock has written there, nothing rests for longer than the longest cooling from `now`.
    """
    if health.state is CircuitState.CLOSED:
        return Circuit(reason=health.reason, changed_at=_zoned(health.changed_at))
    changed_at = _zoned(health.changed_at)
    until = min(changed_at if health.until is None else _zoned(health.until), now + LONGEST_COOLING)
    is_open = health.state is CircuitState.OPEN
    return Circuit(
        state=health.state,
        reason=health.reason,
        until=until,
        changed_at=changed_at,
        openings=_openings(until - changed_at, policy) if is_open else 0,
        counts_from=_probes_from(changed_at, until) if is_open else NEVER,
    )


def _reason_to_open(attempt: ObservedAttempt, summary: WindowSummary, policy: CircuitPolicy) -> str | None:
    """Why a circuit that is not open has to open, in words."""
    if attempt.evidence is not Evidence.FAILURE:
        return None
    in_a_row = summary.unreachable_in_a_row
    if attempt.failure_class is FailureClass.UNREACHABLE and in_a_row >= policy.unreachable_in_a_row:
        return (
            f"the last {in_a_row} attempts could not connect; {policy.unreachable_in_a_row} in a row open the circuit"
        )
    attempts, failures = summary.tally.attempts, summary.tally.failures
    if attempts < policy.min_attempts or failures * 100 < attempts * policy.failure_percent:
        return None
    return (
        f"{failures} of {attempts} attempts within {_format_span(policy.window)} failed, the last with {attempt.failure_class};"
        f" {policy.failure_percent} % of at least {policy.min_attempts} open the circuit"
    )


def _open(circuit: Circuit, reason: str, now: datetime, jitter: float, policy: CircuitPolicy) -> Circuit:
    openings = circuit.openings + 1
    rest = policy.rest(openings, jitter)
    until = max(circuit.until, now + rest)
    return Circuit(
        state=CircuitState.OPEN,
        reason=f"{reason}; it rests for {_format_span(until - now)}",
        until=until,
        changed_at=now,
        openings=openings,
        counts_from=_probes_from(now, until),
    )


def _close(circuit: Circuit, reason: str, now: datetime) -> Circuit:
    return Circuit(reason=reason, changed_at=now, counts_from=circuit.counts_from)


def _cool_down(circuit: Circuit, attempt: ObservedAttempt, now: datetime, policy: CircuitPolicy) -> Circuit:
    """Leave the target alone until the moment it named, but never for longer than the rules allow."""
    longest = min(policy.longest_cooling, LONGEST_COOLING)
    until = attempt.ended_at + min(attempt.retry_after, longest)
    if until <= now or until < circuit.until + _LEAST_EXTENSION:
        return circuit
    asked = _format_span(attempt.retry_after)
    cap = f", of which it gets {_format_span(longest)}" if attempt.retry_after > longest else ""
    reason = f"it answered with {attempt.failure_class} and asked for {asked} of patience{cap}"
    if circuit.state is CircuitState.OPEN and not circuit.is_probe(attempt):
        # It does not work, and besides knows how long that will last.
        reason = f"it fails, and {reason}"
        return replace(circuit, reason=reason, until=until, changed_at=now, counts_from=_probes_from(now, until))
    return Circuit(
        state=CircuitState.COOLING, reason=reason, until=until, changed_at=now, counts_from=circuit.counts_from
    )


def _probes_from(changed_at: datetime, until: datetime) -> datetime:
    """From when on an attempt may have been begun because the rest was over, by a clock that is not ours."""
    return max(changed_at, until - CLOCK_SKEW)


def _openings(rest: timedelta, policy: CircuitPolicy) -> int:
    """Which opening in a row has so long a rest."""
    times = rest / policy.first_rest
    return max(1, round(math.log2(times)) + 1) if times > 0 else 1


def _zoned(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _format_span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 10 and not seconds.is_integer() else f"{seconds:.0f} s"
