"""The registry of recently used targets, with their windows, circuits and published entries.

Memory is bounded: by the number of attempt ids, by the number of targets per owner, and by evicting closed targets that are no
longer used. Pure.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, HealthChange, KeyClass, LatencySummary, Override, Target
from services.health_monitor.circuit import (
    PACE_FROM_PERCENT,
    Circuit,
    CircuitPolicy,
    WindowSummary,
    apply_attempt,
    apply_key_rate,
    apply_probe,
    apply_time,
    restore_circuit,
)
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.listing import describe_outages, without_private_addresses
from services.health_monitor.tracked_target import TrackedTarget
from services.health_monitor.tracked_targets import RegistryLimits, TrackedTargets
from services.health_monitor.window import Tally

_MAX_ATTEMPT_IDS = 50_000
_SETTLING = timedelta(seconds=5)
"""Minimum age of our own change before the bucket may override it: a read can be older than our last write."""
_NO_COUNTS = WindowSummary(tally=Tally(), unreachable_in_a_row=0)


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
    """The health of all targets. `now` is in UTC; if it jumps, no circuit holds for longer than it would have."""

    def __init__(self, policy: CircuitPolicy, limits: RegistryLimits | None = None) -> None:
        self._policy = policy
        self._limits = limits or RegistryLimits()
        self._targets = TrackedTargets(self._limits)
        self._ids: dict[str, None] = {}
        self._overrides: Sequence[Override] = ()
        self.counters = AttemptCounters()

    def __len__(self) -> int:
        return len(self._targets)

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
        tracked.count_recent(attempt, now)
        tracked.note_user(attempt)
        changes = [self._cool_key(attempt, now), self._pace_key(attempt, now)]
        if tracked.forced is None and now - attempt.ended_at < self._policy.window:
            changes.append(self._apply(tracked, attempt, now, jitter))
            if attempt.tenant is not None and changes[-1] is None:
                changes.append(self._apply_to_tenant(tracked, attempt.tenant, attempt, now, jitter))
        return [health for health in changes if health is not None]

    def record_probe(
        self, targets: Iterable[Target], reachable: bool | None, *, now: datetime, jitter: float
    ) -> list[Health]:
        """Record a probe of an address that these targets share; return what changed. None proves nothing.

        A target that an attempt has called meanwhile is left alone: the attempt proves more. That a target is still
        unreachable is no news more often than every half hour, though its entry holds for longer each time.
        """
        changes = []
        for target in targets:
            tracked = self._targets.find(target) if reachable is not False else self._get_or_add(target, now)
            if tracked is None or self._is_in_use(tracked, now):
                continue
            tracked.probed_at, tracked.reachable = now, reachable
            if reachable is None:
                continue
            tracked.unreached_probes = 0 if reachable else tracked.unreached_probes + 1
            circuit = apply_probe(
                tracked.circuit,
                reachable=reachable,
                in_a_row=tracked.unreached_probes,
                now=now,
                jitter=jitter,
                policy=self._policy,
            )
            if tracked.forced is None and circuit is not tracked.circuit:
                is_repeated = circuit.state is tracked.circuit.state and tracked.is_recently_announced(now)
                change = tracked.change(circuit, now)
                if not is_repeated:
                    tracked.announced_at = now
                    changes.append(change)
        return changes

    def tick(self, now: datetime) -> list[Health]:
        """Apply the passage of time, about once a second, and evict unused closed targets; return the changes."""
        changes = []
        for tracked in list(self._targets):
            if (forced := self._override_of(tracked.target, now)) != tracked.forced:
                changes.append(tracked.force(forced, now))
            circuit = apply_time(tracked.circuit, now=now, policy=self._policy)
            if circuit is not tracked.circuit and circuit.state is tracked.circuit.state is CircuitState.CLOSED:
                tracked.circuit = circuit  # a clock was set back, which is no news about the target
            elif circuit is not tracked.circuit:
                changes.append(tracked.change(circuit, now))
            tracked.tenants.sweep(now)
            if tracked.is_closed and self._is_unused(tracked, now):
                self._targets.remove(tracked)
        return changes

    def obey(self, overrides: Iterable[Override], now: datetime) -> list[Health]:
        """Replace the operator's overrides; return what changed."""
        self._overrides = sorted(overrides, key=lambda override: override.precedence)
        return self.tick(now)

    # --- read by others

    def entry(self, target: Target) -> Health | None:
        """Return the entry of one target that belongs into the bucket; None if it has none."""
        tracked = self._targets.find(target)
        return None if tracked is None else tracked.entry

    def entries(self) -> dict[str, Health]:
        """Return the entries that belong into the bucket, by key: those of all targets that are not closed."""
        return {tracked.target.key: tracked.entry for tracked in self._targets if tracked.entry is not None}

    def alerts(self) -> list[str]:
        """Return what an operator has to know: which shared targets fail, one text for each provider and class of keys."""
        return describe_outages(self._targets)

    def states(self) -> dict[CircuitState, int]:
        """Count the targets in each state."""
        counts = dict.fromkeys(CircuitState, 0)
        for tracked in self._targets:
            counts[tracked.circuit.state] += 1
        return counts

    def targets(self) -> list[tuple[Target, datetime]]:
        """Return every target, but not one key's or tenant's use of it, and when it was last called as far as is known."""
        return [
            (tracked.target, tracked.called_at)
            for tracked in self._targets
            if tracked.target.key_id is None and not tracked.is_of_one_tenant
        ]

    def latency_changes(self, now: datetime) -> list[LatencySummary]:
        """Return the latency summaries that have changed noticeably; each target at most every ten seconds."""
        summaries = (
            tracked.next_summary(now)
            for tracked in self._targets
            if not self.is_stale(tracked.last_seen, now) and not tracked.is_of_one_tenant
        )
        return [summary for summary in summaries if summary is not None]

    def summaries(self) -> dict[str, LatencySummary]:
        """Return the latency summaries that were published last, by key."""
        return {tracked.target.key: tracked.summary for tracked in self._targets if tracked.summary is not None}

    def is_forgotten(self, summary: LatencySummary, now: datetime) -> bool:
        """Return whether a published latency summary is of a target that nobody has used for too long."""
        return now - summary.measured_at >= self._limits.keep_unused

    def restore_latency(self, summaries: Iterable[LatencySummary], *, now: datetime) -> None:
        """Restore the targets of published latency summaries after a start, so that their addresses are probed."""
        for summary in summaries:
            if self.is_forgotten(summary, now):
                continue
            tracked = self._get_or_add(summary.target, now)
            if tracked is not None and tracked.summary is None:
                tracked.summary = summary
                tracked.last_seen = min(summary.measured_at, now)

    def restore(self, entries: Mapping[str, Health], *, now: datetime, ours: Container[str] = ()) -> None:
        """Restore the state from the bucket's `entries`, by key: after a start, or from another process of the monitor.

        Keys in `ours` have unwritten changes, so the bucket is outdated there.
        """
        for key, health in entries.items():
            if key != health.target.key or key in ours:
                continue
            tracked = self._get_or_add(health.target, now)
            if tracked is not None and tracked.forced is None and _newer(health, tracked.circuit):
                circuit = restore_circuit(health, now=now, policy=self._policy)
                tracked.change(circuit, now)
                # Several tenants' requests have failed, unless nothing could connect.
                tracked.has_users = tracked.has_users or health.failure_class is not FailureClass.UNREACHABLE
                if circuit.until == health.until:
                    tracked.entry = health
        for tracked in list(self._targets):
            key, circuit = tracked.target.key, tracked.circuit
            if key in ours or key in entries or tracked.is_closed:
                continue
            if now - circuit.changed_at >= _SETTLING:
                reason = "closed in the bucket, by another process of the monitor or by an operator"
                tracked.change(Circuit(reason=reason, changed_at=now, counts_from=circuit.counts_from), now)

    def visible_to(self, tenant: str | None, now: datetime) -> list[Health]:
        """Return the targets that a tenant can reach, the shared ones and its own, with the figures of the last minutes.

        Without a tenant all are returned, but no more than the limits say. Neither which of the platform's keys cools nor the
        addresses of the platform's own servers are shown to tenants.
        """
        chosen = self._visible(tenant)
        if len(chosen) > self._limits.listed:
            chosen.sort(key=lambda tracked: (not tracked.is_closed, tracked.last_seen), reverse=True)
            del chosen[self._limits.listed :]
        found = [tracked.describe(now) for tracked in chosen]
        if tenant is not None:
            found = without_private_addresses(found)
        return sorted(found, key=lambda health: health.target.key)

    def to_change(self, health: Health) -> HealthChange:
        """Return a change with who may know of its target, as `visible_to` decides."""
        tracked = self._targets.find(health.target)
        widely = tracked is not None and tracked.has_users
        return HealthChange(
            **dict(health), widely_known=widely, known_to=None if tracked is None or widely else tracked.first_user
        )

    def left_out(self, tenant: str | None) -> int:
        """Return how many targets `visible_to` leaves out."""
        return max(0, len(self._visible(tenant)) - self._limits.listed)

    # --- internals

    def _visible(self, tenant: str | None) -> list[TrackedTarget]:
        if tenant is None:
            return list(self._targets)
        shared = (tracked for tracked in self._targets.of(None) if tracked.target.key_id is None)
        own = self._targets.of(tenant)
        return [tracked for tracked in (*shared, *own) if tracked.is_visible_to(tenant)]

    def _is_repeated(self, attempt_id: str) -> bool:
        if attempt_id in self._ids:
            return True
        self._ids[attempt_id] = None
        if len(self._ids) > _MAX_ATTEMPT_IDS:
            del self._ids[next(iter(self._ids))]
        return False

    def _override_of(self, target: Target, now: datetime) -> Override | None:
        if not self._overrides or target.is_of_one_tenant:
            return None  # that of the shared target is the routers' for both
        return next((each for each in self._overrides if each.until > now and each.selects(target)), None)

    def _get_or_add(self, target: Target, now: datetime) -> TrackedTarget | None:
        """Return the tracked target, added if it is new; None if the limits are reached."""
        if (found := self._targets.find(target)) is not None:
            return found
        if not self._targets.has_place(target.tenant):
            return None
        tracked = TrackedTarget.new(target, window=self._policy.window, recent=self._limits.recent_span, now=now)
        tracked.forced = self._override_of(target, now)
        self._targets.add(tracked)
        return tracked

    def _is_in_use(self, tracked: TrackedTarget, now: datetime) -> bool:
        """Return whether an attempt has called the target recently; one in the future was before a clock was set back."""
        at = tracked.attempted_at
        return at is not None and not self.is_stale(at, now) and at <= now + self._limits.recent_span

    def _is_unused(self, tracked: TrackedTarget, now: datetime) -> bool:
        if tracked.target.key_id is not None:
            return True  # of a key only the pause is of interest
        if tracked.is_of_one_tenant:
            return self.is_stale(tracked.last_seen, now)
        return now - tracked.last_seen >= self._limits.keep_unused

    def _apply(self, tracked: TrackedTarget, attempt: ObservedAttempt, now: datetime, jitter: float) -> Health | None:
        if attempt.started_at >= tracked.circuit.counts_from:
            tracked.count(attempt, now)
            alone = None if attempt.tenant is None else self._targets.find(attempt.target.of_tenant(attempt.tenant))
            if alone is None or attempt.started_at >= alone.circuit.counts_from:
                tracked.count_for_tenant(attempt, now)
        summary = tracked.window_summary(now)
        circuit = apply_attempt(tracked.circuit, attempt, summary, now=now, jitter=jitter, policy=self._policy)
        if circuit is tracked.circuit or tracked.rests_on_one_tenant(circuit, attempt, now, self._policy):
            return None
        return tracked.change(circuit, now)

    def _apply_to_tenant(
        self, shared: TrackedTarget, tenant: str, attempt: ObservedAttempt, now: datetime, jitter: float
    ) -> Health | None:
        """Apply an attempt to the circuit that a tenant's requests have at a target that tenants share."""
        if attempt.evidence is Evidence.RETRY_LATER and shared.target.key_class is not KeyClass.OWN:
            return None
        target, counts = shared.target.of_tenant(tenant), shared.tenants.find(tenant)
        tracked = self._targets.find(target)
        before = Circuit() if tracked is None else tracked.circuit
        summary = _NO_COUNTS if counts is None else WindowSummary(tally=counts.tally(now), unreachable_in_a_row=0)
        circuit = apply_attempt(before, attempt, summary, now=now, jitter=jitter, policy=self._policy)
        if tracked is None and circuit is before:
            return None
        tracked = tracked or self._get_or_add(target, now)
        if tracked is None:
            self.counters.untracked += 1
            return None
        tracked.window_counts = counts or tracked.window_counts
        tracked.count_recent(attempt, now)
        if circuit is before:
            return None
        return tracked.change(replace(circuit, reason=f"only one tenant's requests fail: {circuit.reason}"), now)

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
        circuit = apply_attempt(tracked.circuit, asked, _NO_COUNTS, now=now, jitter=0, policy=self._policy)
        return None if circuit is tracked.circuit else tracked.change(circuit, now)

    def _pace_key(self, attempt: ObservedAttempt, now: datetime) -> Health | None:
        """Let the key of an attempt give way to others, if most of its rate limit at the provider is used."""
        rate = attempt.key_rate
        if attempt.used_key is None or rate is None:
            return None
        tracked = self._targets.find(attempt.used_key)
        if tracked is None and rate.used_percent < PACE_FROM_PERCENT:
            return None
        tracked = tracked or self._get_or_add(attempt.used_key, now)
        if tracked is None:
            self.counters.untracked += 1
            return None
        tracked.last_seen = now
        circuit = apply_key_rate(tracked.circuit, rate, answered_at=attempt.answered_at, now=now)
        return None if circuit is tracked.circuit else tracked.change(circuit, now)


def _newer(health: Health, circuit: Circuit) -> bool:
    changed_at = health.changed_at if health.changed_at.tzinfo else health.changed_at.replace(tzinfo=UTC)
    return changed_at > circuit.changed_at
