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
from services.health_monitor.evidence import Attempt, Weight
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
class Rules:
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

    def is_trial(self, attempt: Attempt) -> bool:
        """Whether an attempt was begun after the rest of an open circuit."""
        return attempt.started_at >= self.counts_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the decision on an attempt is made from: the window, the attempt itself included."""

    tally: Tally
    unreachable_in_a_row: int


def after(circuit: Circuit, attempt: Attempt, seen: Seen, *, now: datetime, jitter: float, rules: Rules) -> Circuit:
    """The circuit once `attempt` has been seen; the same object where nothing changes. `jitter` is a number from 0 to 1."""
    if attempt.weight is Weight.NOTHING:
        return circuit
    if attempt.weight is Weight.PATIENCE:
        return _asked_for_patience(circuit, attempt, now, rules)
    if circuit.state is CircuitState.OPEN:
        if not circuit.is_trial(attempt):
            return circuit
        if attempt.weight is Weight.SUCCESS:
            rested = _spoken(now - circuit.changed_at)
            reason = f"a trial succeeded in {attempt.latency_ms} ms, {rested} after the circuit had opened"
            return _closed(circuit, reason, now)
        reason = f"the trial failed with {attempt.failure_class}, opening {circuit.openings + 1} in a row"
        return _opened(circuit, reason, now, jitter, rules)
    reasons = _trouble(attempt, seen, rules)
    return circuit if reasons is None else _opened(circuit, reasons, now, jitter, rules)


def later(circuit: Circuit, *, now: datetime, rules: Rules) -> Circuit:
    """The circuit as of `now`; the same object where nothing changes."""
    if circuit.state is CircuitState.COOLING and now >= circuit.until:
        return _closed(circuit, "the time for which it asked to be left alone is over", now)
    if circuit.state is CircuitState.OPEN and now >= circuit.until + rules.forgotten_after:
        quiet = _spoken(rules.forgotten_after)
        return _closed(circuit, f"nobody has tried for {quiet} since it might be tried again", now)
    return circuit


def adopted(health: Health, *, now: datetime, rules: Rules) -> Circuit:
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
        openings=_openings(until - changed_at, rules) if is_open else 0,
        counts_from=_rested(changed_at, until) if is_open else NEVER,
    )


def _trouble(attempt: Attempt, seen: Seen, rules: Rules) -> str | None:
    """Why a circuit that is not open has to open, in words."""
    if attempt.weight is not Weight.FAILURE:
        return None
    in_a_row = seen.unreachable_in_a_row
    if attempt.failure_class is FailureClass.UNREACHABLE and in_a_row >= rules.unreachable_in_a_row:
        return f"the last {in_a_row} attempts could not connect; {rules.unreachable_in_a_row} in a row open the circuit"
    attempts, failures = seen.tally.attempts, seen.tally.failures
    if attempts < rules.min_attempts or failures * 100 < attempts * rules.failure_percent:
        return None
    return (
        f"{failures} of {attempts} attempts within {_spoken(rules.window)} failed, the last with {attempt.failure_class};"
        f" {rules.failure_percent} % of at least {rules.min_attempts} open the circuit"
    )


def _opened(circuit: Circuit, reason: str, now: datetime, jitter: float, rules: Rules) -> Circuit:
    openings = circuit.openings + 1
    rest = rules.rest(openings, jitter)
    until = max(circuit.until, now + rest)
    return Circuit(
        state=CircuitState.OPEN,
        reason=f"{reason}; it rests for {_spoken(until - now)}",
        until=until,
        changed_at=now,
        openings=openings,
        counts_from=_rested(now, until),
    )


def _closed(circuit: Circuit, reason: str, now: datetime) -> Circuit:
    return Circuit(reason=reason, changed_at=now, counts_from=circuit.counts_from)


def _asked_for_patience(circuit: Circuit, attempt: Attempt, now: datetime, rules: Rules) -> Circuit:
    """Leave the target alone until the moment it named, but never for longer than the rules allow."""
    longest = min(rules.longest_cooling, LONGEST_COOLING)
    until = attempt.ended_at + min(attempt.retry_after, longest)
    if until <= now or until < circuit.until + _LEAST_EXTENSION:
        return circuit
    asked = _spoken(attempt.retry_after)
    cap = f", of which it gets {_spoken(longest)}" if attempt.retry_after > longest else ""
    reason = f"it answered with {attempt.failure_class} and asked for {asked} of patience{cap}"
    if circuit.state is CircuitState.OPEN and not circuit.is_trial(attempt):
        # It does not work, and besides knows how long that will last.
        reason = f"it fails, and {reason}"
        return replace(circuit, reason=reason, until=until, changed_at=now, counts_from=_rested(now, until))
    return Circuit(
        state=CircuitState.COOLING, reason=reason, until=until, changed_at=now, counts_from=circuit.counts_from
    )


def _rested(changed_at: datetime, until: datetime) -> datetime:
    """From when on an attempt may have been begun because the rest was over, by a clock that is not ours."""
    return max(changed_at, until - CLOCK_SKEW)


def _openings(rest: timedelta, rules: Rules) -> int:
    """Which opening in a row has so long a rest."""
    times = rest / rules.first_rest
    return max(1, round(math.log2(times)) + 1) if times > 0 else 1


def _zoned(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _spoken(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 10 and not seconds.is_integer() else f"{seconds:.0f} s"
