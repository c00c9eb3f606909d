"""The registry of recently seen targets, with their windows, circuits and published entries.

Memory is bounded: by the number of attempt ids, by the number of targets per owner, and by evicting closed targets that are no
longer used. Pure.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, Target
from services.health_monitor.circuit import (
    NEVER,
    Circuit,
    CircuitPolicy,
    WindowSummary,
    apply_attempt,
    apply_time,
    restore_circuit,
)
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.window import Latencies, SlidingCounts, Tally

_MAX_ATTEMPT_IDS = 50_000
_RECENT_BUCKETS = 30
_SETTLING = timedelta(seconds=5)
"""Minimum age of our own change before the bucket may override it: a read can be older than our last write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLimits:
    """Limits of the registry's memory."""

    recent_span: timedelta = timedelta(minutes=5)
    """The span of the figures shown to people."""
    targets_per_owner: int = 500
    """A tenant can invent model names for its own endpoint; they must not evict other owners' targets."""
    targets: int = 20_000


@dataclass(slots=True)
class _TrackedTarget:
    target: Target
    window_counts: SlidingCounts
    """The counts on which the circuit is based."""
    recent: SlidingCounts
    latencies: Latencies
    first_seen: datetime
    last_seen: datetime
    circuit: Circuit = field(default_factory=Circuit)
    entry: Health | None = None
    """The entry that belongs into the bucket; None while the circuit is closed."""
    unreachable_in_a_row: int = 0


@dataclass(slots=True)
class AttemptCounters:
    """Counts of attempts since the start."""

    received: int = 0
    repeated: int = 0
    """Already recorded, by their ids."""
    stale: int = 0
    """Too old to count."""
    untracked: int = 0
    """Of targets beyond the limits."""


class TargetHealthRegistry:
    """The health of all targets. `now` is in UTC and must not go back by much."""

    def __init__(self, policy: CircuitPolicy, limits: RegistryLimits | None = None) -> None:
        self._policy = policy
        self._limits = limits or RegistryLimits()
        self._owners: dict[str | None, dict[str, _TrackedTarget]] = {}
        self._size = 0
        self._ids: dict[str, None] = {}
        self.counters = AttemptCounters()

    def __len__(self) -> int:
        return self._size

    def is_stale(self, at: datetime, now: datetime) -> bool:
        """Return whether an attempt that ended at `at` is too old to count."""
        return at <= now - self._limits.recent_span

    def record(self, attempt: ObservedAttempt, *, now: datetime, jitter: float) -> list[Health]:
        """Record an attempt; return what changed, of its target and of its key. `jitter` is between 0 and 1."""
        self.counters.received += 1
        if self.is_stale(attempt.ended_at, now):
            self.counters.stale += 1
            return []
        if self._is_repeated(attempt.attempt_id):
            self.counters.repeated += 1
            return []
        tracked = self._get_or_add(attempt.target, now)
        if tracked is None:
            self.counters.untracked += 1
            return []
        self._count_recent(tracked, attempt, now)
        changes = [self._cool_key(attempt, now)]
        if now - attempt.ended_at < self._policy.window:
            changes.append(self._apply(tracked, attempt, now, jitter))
        return [health for health in changes if health is not None]

    def tick(self, now: datetime) -> list[Health]:
        """Apply the passage of time, about once a second, and evict unused closed targets; return the changes."""
        changes = []
        for tracked in list(self._all()):
            circuit = apply_time(tracked.circuit, now=now, policy=self._policy)
            if circuit is not tracked.circuit:
                changes.append(self._change(tracked, circuit, now))
            if circuit.state is CircuitState.CLOSED and now - tracked.last_seen >= self._limits.recent_span:
                self._remove(tracked)
        return changes

    # --- read by others

    def entry(self, target: Target) -> Health | None:
        """Return the entry of one target that belongs into the bucket; None if it has none."""
        tracked = self._owners.get(target.tenant, {}).get(target.key)
        return None if tracked is None else tracked.entry

    def entries(self) -> dict[str, Health]:
        """Return the entries that belong into the bucket, by key: those of all targets that are not closed."""
        return {tracked.target.key: tracked.entry for tracked in self._all() if tracked.entry is not None}

    def states(self) -> dict[CircuitState, int]:
        """Count the targets in each state."""
        counts = dict.fromkeys(CircuitState, 0)
        for tracked in self._all():
            counts[tracked.circuit.state] += 1
        return counts

    def restore(self, entries: Mapping[str, Health], *, now: datetime, ours: Container[str] = ()) -> None:
        """Restore the state from the bucket's `entries`, by key: after a start, or from another process of the monitor.

        Keys in `ours` have unwritten changes, so the bucket is outdated there.
        """
        for key, health in entries.items():
            if key != health.target.key or key in ours:
                continue
            tracked = self._get_or_add(health.target, now)
            if tracked is not None and _newer(health, tracked.circuit):
                circuit = restore_circuit(health, now=now, policy=self._policy)
                self._change(tracked, circuit, now)
                if circuit.until == health.until:
                    tracked.entry = health
        for tracked in list(self._all()):
            key, circuit = tracked.target.key, tracked.circuit
            if key in ours or key in entries or circuit.state is CircuitState.CLOSED:
                continue
            if now - circuit.changed_at >= _SETTLING:
                reason = "closed in the bucket, by another process of the monitor or by an operator"
                self._change(tracked, Circuit(reason=reason, changed_at=now, counts_from=circuit.counts_from), now)

    def visible_to(self, tenant: str | None, now: datetime) -> list[Health]:
        """Return the targets that a tenant can reach, the shared ones and its own, with the figures of the last minutes.

        Without a tenant all are returned. Which of the platform's keys cools is not shown to tenants.
        """
        if tenant is None:
            own = list(self._all())
        else:
            shared = self._owners.get(None, {}).values()
            own = [tracked for tracked in shared if tracked.target.key_id is None]
            own += self._owners.get(tenant, {}).values()
        own.sort(key=lambda tracked: tracked.target.key)
        return [_health_of(tracked, tracked.circuit, tracked.recent, now) for tracked in own]

    # --- internals

    def _is_repeated(self, attempt_id: str) -> bool:
        if attempt_id in self._ids:
            return True
        self._ids[attempt_id] = None
        if len(self._ids) > _MAX_ATTEMPT_IDS:
            del self._ids[next(iter(self._ids))]
        return False

    def _get_or_add(self, target: Target, now: datetime) -> _TrackedTarget | None:
        """Return the tracked target, added if it is new; None if the limits are reached."""
        own = self._owners.get(target.tenant, {})
        if (found := own.get(target.key)) is not None:
            return found
        full = len(own) >= self._limits.targets_per_owner or self._size >= self._limits.targets
        if full and not self._evict_oldest(own):
            return None
        tracked = _TrackedTarget(
            target=target,
            window_counts=SlidingCounts(self._policy.window),
            recent=SlidingCounts(self._limits.recent_span, _RECENT_BUCKETS),
            latencies=Latencies(self._limits.recent_span),
            first_seen=now,
            last_seen=now,
        )
        self._size += 1
        self._owners.setdefault(target.tenant, own)[target.key] = tracked
        return tracked

    def _evict_oldest(self, own: dict[str, _TrackedTarget]) -> bool:
        """Evict the owner's closed target that was unused for longest; return False if it has none."""
        closed = (tracked for tracked in own.values() if tracked.circuit.state is CircuitState.CLOSED)
        oldest = min(closed, key=lambda tracked: tracked.last_seen, default=None)
        if oldest is None:
            return False
        del own[oldest.target.key]
        self._size -= 1
        return True

    def _remove(self, tracked: _TrackedTarget) -> None:
        own = self._owners[tracked.target.tenant]
        del own[tracked.target.key]
        self._size -= 1
        if not own:
            del self._owners[tracked.target.tenant]

    def _count_recent(self, tracked: _TrackedTarget, attempt: ObservedAttempt, now: datetime) -> None:
        tracked.last_seen = now
        if attempt.evidence in (Evidence.SUCCESS, Evidence.FAILURE):
            tracked.recent.add(attempt.ended_at, now, failed=attempt.evidence is Evidence.FAILURE)
        if attempt.evidence is Evidence.SUCCESS:
            tracked.latencies.add(attempt.ended_at, attempt.latency_ms)

    def _apply(self, tracked: _TrackedTarget, attempt: ObservedAttempt, now: datetime, jitter: float) -> Health | None:
        if attempt.started_at >= tracked.circuit.counts_from:
            self._count(tracked, attempt, now)
        summary = WindowSummary(
            tally=tracked.window_counts.tally(now), unreachable_in_a_row=tracked.unreachable_in_a_row
        )
        circuit = apply_attempt(tracked.circuit, attempt, summary, now=now, jitter=jitter, policy=self._policy)
        return None if circuit is tracked.circuit else self._change(tracked, circuit, now)

    def _cool_key(self, attempt: ObservedAttempt, now: datetime) -> Health | None:
        """Let the key of an attempt pause, if its provider asked for that: only the key, and only for this model."""
        if attempt.cooling_key is None:
            return None
        tracked = self._get_or_add(attempt.cooling_key, now)
        if tracked is None:
            self.counters.untracked += 1
            return None
        tracked.last_seen = now
        asked = replace(attempt, evidence=Evidence.RETRY_LATER, retry_after=attempt.key_pause)
        nothing = WindowSummary(tally=Tally(), unreachable_in_a_row=0)
        circuit = apply_attempt(tracked.circuit, asked, nothing, now=now, jitter=0, policy=self._policy)
        return None if circuit is tracked.circuit else self._change(tracked, circuit, now)

    def _count(self, tracked: _TrackedTarget, attempt: ObservedAttempt, now: datetime) -> None:
        if attempt.failure_class is FailureClass.UNREACHABLE:
            tracked.unreachable_in_a_row += 1
        elif attempt.reached:
            tracked.unreachable_in_a_row = 0
        if attempt.evidence in (Evidence.SUCCESS, Evidence.FAILURE):
            tracked.window_counts.add(attempt.ended_at, now, failed=attempt.evidence is Evidence.FAILURE)

    def _change(self, tracked: _TrackedTarget, circuit: Circuit, now: datetime) -> Health:
        """Change the circuit; return the health to publish."""
        health = _health_of(tracked, circuit, tracked.window_counts, now)
        if CircuitState.OPEN in (circuit.state, tracked.circuit.state):
            # The counts behind the last change of state must not cause another one.
            tracked.window_counts.clear()
            tracked.unreachable_in_a_row = 0
        tracked.circuit = circuit
        tracked.entry = None if circuit.state is CircuitState.CLOSED else health
        return health

    def _all(self) -> Iterator[_TrackedTarget]:
        for own in self._owners.values():
            yield from own.values()


def _newer(health: Health, circuit: Circuit) -> bool:
    changed_at = health.changed_at if health.changed_at.tzinfo else health.changed_at.replace(tzinfo=UTC)
    return changed_at > circuit.changed_at


def _health_of(tracked: _TrackedTarget, circuit: Circuit, counts: SlidingCounts, now: datetime) -> Health:
    tally, percentiles = counts.tally(now), tracked.latencies.percentiles(now)
    closed = circuit.state is CircuitState.CLOSED
    return Health(
        target=tracked.target,
        state=circuit.state,
        reason=circuit.reason,
        failure_class=circuit.failure_class,
        until=None if closed else circuit.until,
        changed_at=tracked.first_seen if circuit.changed_at == NEVER else circuit.changed_at,
        samples=tally.attempts,
        failures=tally.failures,
        p50_ms=percentiles[0] if percentiles else None,
        p95_ms=percentiles[1] if percentiles else None,
    )
