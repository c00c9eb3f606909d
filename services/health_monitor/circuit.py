"""Circuit breaker of a target: when it gets no requests, for how long, and why.

closed -> open     enough attempts failed, or several attempts or probes in a row could not connect
open -> open       a half-open probe failed: the circuit stays open twice as long
open -> closed     a half-open probe succeeded, or the address that could not be reached answers again
any -> cooling     the target asked for a pause (Retry-After), which is no failure
cooling -> closed  the pause is over

An open circuit is half-open once its `until` has passed: every reader of the entry may then send a probe, even if the monitor
is down. Pure.
"""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CLOCK_SKEW, LONGEST_COOLING, CircuitState, Health
from keyferry.contracts.usage import KeyRate
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.window import Tally

PACE_FROM_PERCENT = 80
"""From this share of its rate limit on a key gives way to others."""
SPENT_PERCENT = 100
_LEAST_EXTENSION = timedelta(seconds=1)
"""A burst of 429s names almost the same time again and again; shorter extensions are ignored."""
_JITTER = 0.2
NEVER = datetime.fromtimestamp(0, UTC)
"""A time before any event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """Thresholds for opening circuits, and how long they stay open."""

    window: timedelta = timedelta(seconds=10)
    min_attempts: int = 20
    failure_percent: int = 50
    all_failed_attempts: int = 5
    """So many attempts in the window open a circuit if all of them failed, for targets with few requests."""
    unreachable_in_a_row: int = 3
    first_open: timedelta = timedelta(seconds=5)
    longest_open: timedelta = timedelta(seconds=60)
    longest_cooling: timedelta = LONGEST_COOLING
    expire_after: timedelta = timedelta(minutes=10)
    """How long after its `until` an open circuit is closed if nobody probed it."""

    def open_duration(self, openings: int, jitter: float) -> timedelta:
        """Return the duration of the `openings`-th opening in a row.

        `jitter` of 0 to 1 takes up to a fifth off, so that circuits that opened together are not probed together.
        """
        doublings = min(openings - 1, 32)
        return min(self.longest_open, self.first_open * (1 << doublings)) * (1 - _JITTER * jitter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The state of one target's circuit."""

    state: CircuitState = CircuitState.CLOSED
    reason: str = "no failures are known"
    failure_class: FailureClass | None = None
    """The failure that opened it or asked for a pause; None while it is closed."""
    until: datetime = NEVER
    """From when on requests may be sent again."""
    changed_at: datetime = NEVER
    openings: int = 0
    """Openings in a row, without a success in between."""
    counts_from: datetime = NEVER
    """Attempts that started earlier were sent before the circuit was half-open, and only repeat a known failure."""

    def is_probe(self, attempt: ObservedAttempt) -> bool:
        """Return whether an attempt was started after an open circuit became half-open."""
        return attempt.started_at >= self.counts_from


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSummary:
    """The counts on which the decision about an attempt is based, including that attempt."""

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
            open_for = _format_span(now - circuit.changed_at)
            reason = f"a probe succeeded in {attempt.latency_ms} ms, {open_for} after the circuit had opened"
            return _close(circuit, reason, now)
        reason = f"the probe failed with {attempt.failure_class}, opening {circuit.openings + 1} in a row"
        return _open(circuit, attempt.failure_class, reason, now, jitter, policy)
    reasons = _reason_to_open(attempt, summary, policy)
    return circuit if reasons is None else _open(circuit, attempt.failure_class, reasons, now, jitter, policy)


def apply_probe(
    circuit: Circuit, *, reachable: bool, in_a_row: int, now: datetime, jitter: float, policy: CircuitPolicy
) -> Circuit:
    """Return the circuit after a probe of the target's address, which has no key and asks for no model.

    It opens a circuit after `policy.unreachable_in_a_row` probes without a connection (`in_a_row`, this one included), and
    closes one that opened because nothing could connect. It proves nothing about failures of another kind.
    """
    half_open = circuit.state is CircuitState.OPEN and now >= circuit.until
    if reachable:
        if not half_open or circuit.failure_class is not FailureClass.UNREACHABLE:
            return circuit
        open_for = _format_span(now - circuit.changed_at)
        return _close(circuit, f"its address answers a probe, {open_for} after the circuit had opened", now)
    if circuit.state is CircuitState.OPEN and not half_open:
        return circuit
    if not half_open and in_a_row < policy.unreachable_in_a_row:
        return circuit
    reason = f"{in_a_row} probes in a row could not connect to its address"
    return _open(circuit, FailureClass.UNREACHABLE, reason, now, jitter, policy)


def apply_key_rate(circuit: Circuit, rate: KeyRate, *, answered_at: datetime, now: datetime) -> Circuit:
    """Return the circuit of a key's use after its provider has reported its rate limit; the same object if nothing changes.

    A key that has used most of it gives way to others of equal rank; one that has used it up gets no requests, until the reset.
    `answered_at` is when the answer began: the report of a long stream is old when it arrives, and is no news after later ones.
    """
    until = answered_at + min(timedelta(milliseconds=rate.reset_ms), LONGEST_COOLING)
    if circuit.state is CircuitState.COOLING and now < circuit.until:
        return circuit
    if answered_at < circuit.changed_at - CLOCK_SKEW:
        return circuit
    if rate.used_percent < PACE_FROM_PERCENT or until <= now:
        if circuit.state is not CircuitState.PACING:
            return circuit
        return _close(circuit, f"only {rate.used_percent} % of the key's rate limit is used", now)
    spent = rate.used_percent >= SPENT_PERCENT
    state = CircuitState.COOLING if spent else CircuitState.PACING
    if state is circuit.state and until < circuit.until + _LEAST_EXTENSION:
        return circuit
    used = "all" if spent else f"{rate.used_percent} %"
    reason = f"{used} of its rate limit at the provider is used; it is whole again in {_format_span(until - now)}"
    failure_class = FailureClass.RATE_LIMIT if spent else None
    return Circuit(state=state, reason=reason, failure_class=failure_class, until=until, changed_at=now)


def apply_time(circuit: Circuit, *, now: datetime, policy: CircuitPolicy) -> Circuit:
    """Return the circuit as of `now`; the same object if nothing changes."""
    if circuit.changed_at > now + CLOCK_SKEW:
        return _after_clock_was_set_back(circuit, now)
    if circuit.state is CircuitState.COOLING and now >= circuit.until:
        return _close(circuit, "the requested pause is over", now)
    if circuit.state is CircuitState.PACING and now >= circuit.until:
        return _close(circuit, "the key's rate limit is whole again", now)
    if circuit.state is CircuitState.OPEN and now >= circuit.until + policy.expire_after:
        idle = _format_span(policy.expire_after)
        return _close(circuit, f"nobody has probed it within {idle} after it became half-open", now)
    return circuit


def restore_circuit(health: Health, *, now: datetime, policy: CircuitPolicy) -> Circuit:
    """Restore the circuit from an entry that a previous or another process of the monitor has written.

    Whatever a wrong clock has written there, no target is withheld for longer than the longest cooling from `now`.
    """
    if health.state is CircuitState.CLOSED:
        return Circuit(reason=health.reason, changed_at=_zoned(health.changed_at))
    changed_at = _zoned(health.changed_at)
    until = min(changed_at if health.until is None else _zoned(health.until), now + LONGEST_COOLING)
    is_open = health.state is CircuitState.OPEN
    return Circuit(
        state=health.state,
        reason=health.reason,
        failure_class=health.failure_class,
        until=until,
        changed_at=changed_at,
        openings=_opening_number(until - changed_at, policy) if is_open else 0,
        counts_from=_probes_from(changed_at, until) if is_open else NEVER,
    )


def _after_clock_was_set_back(circuit: Circuit, now: datetime) -> Circuit:
    """Return a circuit that holds for as long as it would have: no jump of the clock may withhold a target for longer."""
    jump = circuit.changed_at - now
    counts_from = NEVER if circuit.counts_from == NEVER else circuit.counts_from - jump
    until = NEVER if circuit.until == NEVER else circuit.until - jump
    return replace(circuit, changed_at=now, until=until, counts_from=counts_from)


def _reason_to_open(attempt: ObservedAttempt, summary: WindowSummary, policy: CircuitPolicy) -> str | None:
    """Return why a circuit that is not open has to open; None if it has not."""
    if attempt.evidence is not Evidence.FAILURE:
        return None
    in_a_row = summary.unreachable_in_a_row
    if attempt.failure_class is FailureClass.UNREACHABLE and in_a_row >= policy.unreachable_in_a_row:
        return (
            f"the last {in_a_row} attempts could not connect; {policy.unreachable_in_a_row} in a row open the circuit"
        )
    attempts, failures = summary.tally.attempts, summary.tally.failures
    if failures == attempts >= policy.all_failed_attempts:
        span = _format_span(policy.window)
        return (
            f"all {attempts} attempts within {span} failed, the last with {attempt.failure_class};"
            f" {policy.all_failed_attempts} without a success open the circuit"
        )
    if attempts < policy.min_attempts or failures * 100 < attempts * policy.failure_percent:
        return None
    return (
        f"{failures} of {attempts} attempts within {_format_span(policy.window)} failed, the last with {attempt.failure_class};"
        f" {policy.failure_percent} % of at least {policy.min_attempts} open the circuit"
    )


def _open(
    circuit: Circuit,
    failure_class: FailureClass | None,
    reason: str,
    now: datetime,
    jitter: float,
    policy: CircuitPolicy,
) -> Circuit:
    openings = circuit.openings + 1
    open_duration = policy.open_duration(openings, jitter)
    until = max(circuit.until, now + open_duration)
    return Circuit(
        state=CircuitState.OPEN,
        reason=f"{reason}; it stays open for {_format_span(until - now)}",
        failure_class=failure_class,
        until=until,
        changed_at=now,
        openings=openings,
        counts_from=_probes_from(now, until),
    )


def _close(circuit: Circuit, reason: str, now: datetime) -> Circuit:
    return Circuit(reason=reason, changed_at=now, counts_from=circuit.counts_from)


def _cool_down(circuit: Circuit, attempt: ObservedAttempt, now: datetime, policy: CircuitPolicy) -> Circuit:
    """Start cooling until the time that the target asked for, limited by the policy."""
    longest = min(policy.longest_cooling, LONGEST_COOLING)
    until = attempt.ended_at + min(attempt.retry_after, longest)
    if until <= now or until < circuit.until + _LEAST_EXTENSION:
        return circuit
    requested = _format_span(attempt.retry_after)
    cap = f", limited to {_format_span(longest)}" if attempt.retry_after > longest else ""
    reason = f"it answered with {attempt.failure_class} and asked for a pause of {requested}{cap}"
    if circuit.state is CircuitState.OPEN and not circuit.is_probe(attempt):
        # The target fails, and also says for how long it will.
        reason = f"it fails, and {reason}"
        return replace(circuit, reason=reason, until=until, changed_at=now, counts_from=_probes_from(now, until))
    return Circuit(
        state=CircuitState.COOLING,
        reason=reason,
        failure_class=attempt.failure_class,
        until=until,
        changed_at=now,
        counts_from=circuit.counts_from,
    )


def _probes_from(changed_at: datetime, until: datetime) -> datetime:
    """Return from when on an attempt counts as a probe, allowing for another machine's clock."""
    return max(changed_at, until - CLOCK_SKEW)


def _opening_number(open_duration: timedelta, policy: CircuitPolicy) -> int:
    """Return which opening in a row lasts this long."""
    times = open_duration / policy.first_open
    return max(1, round(math.log2(times)) + 1) if times > 0 else 1


def _zoned(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _format_span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 10 and not seconds.is_integer() else f"{seconds:.0f} s"
