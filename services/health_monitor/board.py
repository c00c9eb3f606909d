"""Every target that was seen lately: its windows, its circuit, and what others are told of it.

Memory is bounded: so many attempts are remembered by id, so many targets are watched for each owner, and one that is closed
and silent is forgotten.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, Target
from services.health_monitor.circuit import NEVER, Circuit, Rules, Seen, adopted, after, later
from services.health_monitor.evidence import Attempt, Weight
from services.health_monitor.window import Latencies, SlidingCounts

_MAX_REMEMBERED_IDS = 50_000
_FIGURE_BUCKETS = 30
_SETTLING = timedelta(seconds=5)
"""How old a change of ours has to be before the bucket may contradict it: a read can be older than our last write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept in memory."""

    figures: timedelta = timedelta(minutes=5)
    """The span of the figures that people see."""
    targets_per_owner: int = 500
    """A tenant can name models of its own endpoint as it likes; it must not push out what others use."""
    targets: int = 20_000


@dataclass(slots=True)
class _Watched:
    target: Target
    recent: SlidingCounts
    """What the circuit is decided from."""
    lately: SlidingCounts
    latencies: Latencies
    first_seen: datetime
    last_seen: datetime
    circuit: Circuit = field(default_factory=Circuit)
    entry: Health | None = None
    """What the bucket has to hold; none while the circuit is closed."""
    unreachable_in_a_row: int = 0


@dataclass(slots=True)
class Figures:
    """What became of the attempts since the start."""

    heard: int = 0
    repeated: int = 0
    """Heard before, by their ids."""
    stale: int = 0
    """Too old to say anything."""
    unwatched: int = 0
    """Of targets for which there is no room."""


class Board:
    """The health of all targets. `now` is in UTC and may not go back by much; nothing here waits or chooses at random."""

    def __init__(self, rules: Rules, limits: Limits | None = None) -> None:
        self._rules = rules
        self._limits = limits or Limits()
        self._owners: dict[str | None, dict[str, _Watched]] = {}
        self._size = 0
        self._ids: dict[str, None] = {}
        self.figures = Figures()

    def __len__(self) -> int:
        return self._size

    def is_stale(self, at: datetime, now: datetime) -> bool:
        """Whether what ended at `at` has no more to say to anybody."""
        return at <= now - self._limits.figures

    def observe(self, attempt: Attempt, *, now: datetime, jitter: float) -> Health | None:
        """Take an attempt in; the new health of its target if that changed. `jitter` is a number from 0 to 1."""
        self.figures.heard += 1
        if self.is_stale(attempt.ended_at, now):
            self.figures.stale += 1
            return None
        if self._known(attempt.attempt_id):
            self.figures.repeated += 1
            return None
        watched = self._watch(attempt.target, now)
        if watched is None:
            self.figures.unwatched += 1
            return None
        self._count_for_people(watched, attempt, now)
        if now - attempt.ended_at >= self._rules.window:
            return None
        return self._judge(watched, attempt, now, jitter)

    def tick(self, now: datetime) -> list[Health]:
        """What time alone has changed: call it about once a second. Forgets targets that are closed and silent."""
        changes = []
        for watched in list(self._all()):
            circuit = later(watched.circuit, now=now, rules=self._rules)
            if circuit is not watched.circuit:
                changes.append(self._change(watched, circuit, now))
            if circuit.state is CircuitState.CLOSED and now - watched.last_seen >= self._limits.figures:
                self._drop(watched)
        return changes

    # --- what others know

    def entry(self, target: Target) -> Health | None:
        """What the bucket has to hold for one target; None where nothing."""
        watched = self._owners.get(target.tenant, {}).get(target.key)
        return None if watched is None else watched.entry

    def entries(self) -> dict[str, Health]:
        """What the bucket has to hold: every target that is not closed, by key."""
        return {watched.target.key: watched.entry for watched in self._all() if watched.entry is not None}

    def states(self) -> dict[CircuitState, int]:
        """How many targets are in each state."""
        counts = dict.fromkeys(CircuitState, 0)
        for watched in self._all():
            counts[watched.circuit.state] += 1
        return counts

    def adopt(self, entries: Mapping[str, Health], *, now: datetime, ours: Container[str] = ()) -> None:
        """Take over what the bucket says, `entries` by key: from an earlier life, or from another process of the monitor.

        Keys in `ours` have changes that are still to be written, so the bucket is behind there.
        """
        for key, health in entries.items():
            if key != health.target.key or key in ours:
                continue
            watched = self._watch(health.target, now)
            if watched is not None and _newer(health, watched.circuit):
                circuit = adopted(health, now=now, rules=self._rules)
                self._change(watched, circuit, now)
                if circuit.until == health.until:
                    watched.entry = health
        for watched in list(self._all()):
            key, circuit = watched.target.key, watched.circuit
            if key in ours or key in entries or circuit.state is CircuitState.CLOSED:
                continue
            if now - circuit.changed_at >= _SETTLING:
                reason = "another process of the monitor, or whoever emptied the bucket, has closed it"
                self._change(watched, Circuit(reason=reason, changed_at=now, counts_from=circuit.counts_from), now)

    def known_to(self, tenant: str, now: datetime) -> list[Health]:
        """The targets that one tenant can reach: those that all share, and its own; with the figures of some minutes."""
        own = [*self._owners.get(None, {}).values(), *self._owners.get(tenant, {}).values()]
        own.sort(key=lambda watched: watched.target.key)
        return [_told(watched, watched.circuit, watched.lately, now) for watched in own]

    # --- inside

    def _known(self, attempt_id: str) -> bool:
        if attempt_id in self._ids:
            return True
        self._ids[attempt_id] = None
        if len(self._ids) > _MAX_REMEMBERED_IDS:
            del self._ids[next(iter(self._ids))]
        return False

    def _watch(self, target: Target, now: datetime) -> _Watched | None:
        """The watched target, begun now if it is new; None where there is no room."""
        own = self._owners.get(target.tenant, {})
        if (found := own.get(target.key)) is not None:
            return found
        full = len(own) >= self._limits.targets_per_owner or self._size >= self._limits.targets
        if full and not self._make_room(own):
            return None
        watched = _Watched(
            target=target,
            recent=SlidingCounts(self._rules.window),
            lately=SlidingCounts(self._limits.figures, _FIGURE_BUCKETS),
            latencies=Latencies(self._limits.figures),
            first_seen=now,
            last_seen=now,
        )
        self._size += 1
        self._owners.setdefault(target.tenant, own)[target.key] = watched
        return watched

    def _make_room(self, own: dict[str, _Watched]) -> bool:
        """Forget the owner's closed target that has been silent for longest; False when it has none."""
        closed = (watched for watched in own.values() if watched.circuit.state is CircuitState.CLOSED)
        oldest = min(closed, key=lambda watched: watched.last_seen, default=None)
        if oldest is None:
            return False
        del own[oldest.target.key]
        self._size -= 1
        return True

    def _drop(self, watched: _Watched) -> None:
        own = self._owners[watched.target.tenant]
        del own[watched.target.key]
        self._size -= 1
        if not own:
            del self._owners[watched.target.tenant]

    def _count_for_people(self, watched: _Watched, attempt: Attempt, now: datetime) -> None:
        watched.last_seen = now
        if attempt.weight in (Weight.SUCCESS, Weight.FAILURE):
            watched.lately.add(attempt.ended_at, now, failed=attempt.weight is Weight.FAILURE)
        if attempt.weight is Weight.SUCCESS:
            watched.latencies.add(attempt.ended_at, attempt.latency_ms)

    def _judge(self, watched: _Watched, attempt: Attempt, now: datetime, jitter: float) -> Health | None:
        if attempt.started_at >= watched.circuit.counts_from:
            self._count(watched, attempt, now)
        seen = Seen(tally=watched.recent.tally(now), unreachable_in_a_row=watched.unreachable_in_a_row)
        circuit = after(watched.circuit, attempt, seen, now=now, jitter=jitter, rules=self._rules)
        return None if circuit is watched.circuit else self._change(watched, circuit, now)

    def _count(self, watched: _Watched, attempt: Attempt, now: datetime) -> None:
        if attempt.failure_class is FailureClass.UNREACHABLE:
            watched.unreachable_in_a_row += 1
        elif attempt.reached:
            watched.unreachable_in_a_row = 0
        if attempt.weight in (Weight.SUCCESS, Weight.FAILURE):
            watched.recent.add(attempt.ended_at, now, failed=attempt.weight is Weight.FAILURE)

    def _change(self, watched: _Watched, circuit: Circuit, now: datetime) -> Health:
        """Another state; what others are told of it."""
        health = _told(watched, circuit, watched.recent, now)
        if CircuitState.OPEN in (circuit.state, watched.circuit.state):
            # What led to the last state has had its effect, and must not have it twice.
            watched.recent.clear()
            watched.unreachable_in_a_row = 0
        watched.circuit = circuit
        watched.entry = None if circuit.state is CircuitState.CLOSED else health
        return health

    def _all(self) -> Iterator[_Watched]:
        for own in self._owners.values():
            yield from own.values()


def _newer(health: Health, circuit: Circuit) -> bool:
    told_at = health.changed_at if health.changed_at.tzinfo else health.changed_at.replace(tzinfo=UTC)
    return told_at > circuit.changed_at


def _told(watched: _Watched, circuit: Circuit, counts: SlidingCounts, now: datetime) -> Health:
    tally, percentiles = counts.tally(now), watched.latencies.percentiles(now)
    closed = circuit.state is CircuitState.CLOSED
    return Health(
        target=watched.target,
        state=circuit.state,
        reason=circuit.reason,
        until=None if closed else circuit.until,
        changed_at=watched.first_seen if circuit.changed_at == NEVER else circuit.changed_at,
        samples=tally.attempts,
        failures=tally.failures,
        p50_ms=percentiles[0] if percentiles else None,
        p95_ms=percentiles[1] if percentiles else None,
    )
