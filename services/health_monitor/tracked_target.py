"""One target as the monitor tracks it: its windows, its circuit, and what is published of it. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import CircuitState, Health, KeyClass, LatencySummary, Override, Target
from services.health_monitor.circuit import NEVER, Circuit, CircuitPolicy, WindowSummary
from services.health_monitor.evidence import Evidence, ObservedAttempt
from services.health_monitor.tenant_counts import TenantCounts
from services.health_monitor.window import SlidingCounts, SlidingSketch

_RECENT_BUCKETS = 30
_NOTICEABLE_PERCENT = 10
"""A figure that differs by less is not worth a message to every router."""
_ANNOUNCED_AGAIN = timedelta(minutes=30)
"""How often the history gets a target that stays unreachable: after an hour without a change it would count as lost."""
_REFRESH = timedelta(hours=1)
"""After this long an unchanged summary of a target in use is published again: its age says that it still holds."""
LATENCY_INTERVAL = timedelta(seconds=10)
"""The shortest time between two latency summaries of one target."""


@dataclass(slots=True, kw_only=True)
class TrackedTarget:
    """A target with recent attempts, or whose address is probed."""

    target: Target
    window_counts: SlidingCounts
    """The counts on which the circuit is based."""
    recent: SlidingCounts
    latencies: SlidingSketch
    """Of completed attempts, over the span of `recent`."""
    first_tokens: SlidingSketch
    """Until the first token, of completed attempts that were streamed."""
    first_seen: datetime
    last_seen: datetime
    """When the last attempt was recorded, or it was added."""
    attempted_at: datetime | None = None
    """When the last attempt ended; None if only probes are known."""
    circuit: Circuit = field(default_factory=Circuit)
    entry: Health | None = None
    """The entry that belongs into the bucket; None while the circuit is closed."""
    forced: Override | None = None
    unreachable_in_a_row: int = 0
    """Attempts that could not connect, since one that could."""
    unreached_probes: int = 0
    """Probes that could not connect, since one that could."""
    announced_at: datetime | None = None
    """When a change because of a probe was last announced."""
    probed_at: datetime | None = None
    reachable: bool | None = None
    summary: LatencySummary | None = None
    """The latency summary that was published last."""
    summarized_at: datetime | None = None
    """When it was last computed, whether it was published or not."""
    is_of_one_tenant: bool
    """Whether it is one tenant's use of a target that tenants share."""
    tenants: TenantCounts
    """Of a target that tenants share: the counts by tenant."""
    first_user: str | None = None
    """The tenant whose request it was first known to serve, or to fail."""
    has_users: bool = False
    """Whether it is known to serve, or to fail, several tenants' requests."""

    @classmethod
    def new(cls, target: Target, *, window: timedelta, recent: timedelta, now: datetime) -> "TrackedTarget":
        """Return a target of which nothing is known yet. `window` and `recent` are the spans of the circuit and the figures."""
        return cls(
            target=target,
            window_counts=SlidingCounts(window),
            recent=SlidingCounts(recent, _RECENT_BUCKETS),
            latencies=SlidingSketch(recent, _RECENT_BUCKETS),
            first_tokens=SlidingSketch(recent, _RECENT_BUCKETS),
            is_of_one_tenant=target.is_of_one_tenant,
            tenants=TenantCounts(window),
            first_seen=now,
            last_seen=now,
        )

    @property
    def is_closed(self) -> bool:
        """Whether its circuit is closed."""
        return self.circuit.state is CircuitState.CLOSED

    @property
    def called_at(self) -> datetime:
        """When it was last called as far as is known; long ago if only its address was probed."""
        if self.attempted_at is not None:
            return self.attempted_at
        return NEVER if self.summary is None else self.summary.measured_at

    def is_recently_announced(self, now: datetime) -> bool:
        """Return whether a change because of a probe was announced within the last half hour."""
        return self.announced_at is not None and timedelta(0) <= now - self.announced_at < _ANNOUNCED_AGAIN

    def count_recent(self, attempt: ObservedAttempt, now: datetime) -> None:
        """Count an attempt for the figures that people and routers see."""
        self.last_seen = now
        self.attempted_at = max(self.attempted_at or attempt.ended_at, attempt.ended_at)
        if attempt.evidence in (Evidence.SUCCESS, Evidence.FAILURE):
            self.recent.add(attempt.ended_at, now, failed=attempt.evidence is Evidence.FAILURE)
        if attempt.evidence is Evidence.SUCCESS:
            self.latencies.add(attempt.ended_at, now, attempt.latency_ms)
            if attempt.first_token_ms is not None:
                self.first_tokens.add(attempt.ended_at, now, attempt.first_token_ms)

    def count(self, attempt: ObservedAttempt, now: datetime) -> None:
        """Count an attempt for the circuit."""
        if attempt.failure_class is FailureClass.UNREACHABLE:
            self.unreachable_in_a_row += 1
        elif attempt.reached:
            self.unreachable_in_a_row = 0
        if attempt.evidence in (Evidence.SUCCESS, Evidence.FAILURE):
            self.window_counts.add(attempt.ended_at, now, failed=attempt.evidence is Evidence.FAILURE)

    def count_for_tenant(self, attempt: ObservedAttempt, now: datetime) -> None:
        """Count an attempt for the circuit of its tenant's requests, where tenants share the target."""
        if attempt.tenant is not None and attempt.evidence in (Evidence.SUCCESS, Evidence.FAILURE):
            self.tenants.add(attempt.tenant, attempt.ended_at, now, failed=attempt.evidence is Evidence.FAILURE)

    def note_user(self, attempt: ObservedAttempt) -> None:
        """Note whose request was served or failed here. A model that the provider does not know proves nothing."""
        if attempt.tenant is None or attempt.evidence is Evidence.NEUTRAL:
            return
        self.has_users = self.has_users or self.first_user not in (None, attempt.tenant)
        self.first_user = self.first_user or attempt.tenant

    def is_visible_to(self, tenant: str) -> bool:
        """Return whether a tenant may know of the target: not of a model that only another tenant's keys are known to call.

        The name of a fine-tuned model shows whose it is, and what for. What is of one tenant's requests only, and closed, would
        repeat the row of the target.
        """
        if self.is_of_one_tenant:
            return not self.is_closed
        if self.target.tenant is not None or self.target.key_class is not KeyClass.OWN:
            return True
        return self.has_users or self.first_user == tenant

    def rests_on_one_tenant(
        self, circuit: Circuit, attempt: ObservedAttempt, now: datetime, policy: CircuitPolicy
    ) -> bool:
        """Return whether only one tenant's requests are the reason to change a shared target's circuit to `circuit`.

        That nothing can connect has nothing to do with a tenant. A pause that is asked of an own key may be of its account.
        """
        if attempt.tenant is None or circuit.state is CircuitState.CLOSED:
            return False
        if attempt.evidence is Evidence.RETRY_LATER:
            return self.target.key_class is KeyClass.OWN
        if self.circuit.state is CircuitState.OPEN:
            return False
        if self.unreachable_in_a_row >= policy.unreachable_in_a_row:
            return False
        return not self.tenants.several_fail(policy.failure_percent, now)

    def window_summary(self, now: datetime) -> WindowSummary:
        """Return the counts on which a decision about the circuit is based."""
        return WindowSummary(tally=self.window_counts.tally(now), unreachable_in_a_row=self.unreachable_in_a_row)

    def change(self, circuit: Circuit, now: datetime) -> Health:
        """Change the circuit; return the health to publish."""
        health = self._describe(circuit, self.window_counts, now)
        if CircuitState.OPEN in (circuit.state, self.circuit.state):
            # The counts behind the last change of state must not cause another one.
            self.window_counts.clear()
            self.tenants.clear()
            self.unreachable_in_a_row = 0
        self.circuit = circuit
        self.entry = None if self.is_closed else health
        return health

    def force(self, override: Override | None, now: datetime) -> Health:
        """Obey an override, or none any more; return the health to publish. A circuit that is forced closed starts anew."""
        before, self.forced = self.forced, override
        if override is None:
            ended_at = now if before is None else min(now, before.until)
            ended = Circuit(reason="the operator's override has ended", changed_at=ended_at)
            circuit = ended if self.is_closed else self.circuit
            return self._describe(circuit, self.recent, now)
        if override.state is CircuitState.CLOSED:
            self.change(Circuit(reason="an operator has forced it closed", changed_at=override.since), now)
        return self.describe(now)

    def describe(self, now: datetime) -> Health:
        """Return the health with the figures of the last minutes, and the override if there is one."""
        health = self._describe(self.circuit, self.recent, now)
        if self.forced is None:
            return health
        is_open = self.forced.state is CircuitState.OPEN
        forced = {
            "state": self.forced.state,
            "reason": f"an operator has forced its circuit {self.forced.state}: {self.forced.reason}",
            "until": self.forced.until if is_open else None,
            "changed_at": self.forced.since,
            "failure_class": None,
            "forced": self.forced,
        }
        return health.model_copy(update=forced)

    def next_summary(self, now: datetime) -> LatencySummary | None:
        """Return the latency summary to publish now; None if it is too soon, or differs too little from the last one."""
        last, at = self.summary, self.summarized_at
        if at is not None and timedelta(0) <= now - at < LATENCY_INTERVAL:
            return None
        self.summarized_at = now
        latencies, first_tokens = self.latencies.merged(now), self.first_tokens.merged(now)
        p50_ms, p95_ms = latencies.percentile(50), latencies.percentile(95)
        if p50_ms is None or p95_ms is None:
            return None
        summary = LatencySummary(
            target=self.target,
            samples=len(latencies),
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            first_token_p50_ms=first_tokens.percentile(50),
            measured_at=now,
        )
        if last is not None and now - last.measured_at < _REFRESH and not _differs(last, summary):
            return None
        self.summary = summary
        return summary

    def _describe(self, circuit: Circuit, counts: SlidingCounts, now: datetime) -> Health:
        tally = counts.tally(now)
        latencies, first_tokens = self.latencies.merged(now), self.first_tokens.merged(now)
        closed = circuit.state is CircuitState.CLOSED
        return Health(
            target=self.target,
            state=circuit.state,
            reason=circuit.reason,
            failure_class=circuit.failure_class,
            until=None if closed else circuit.until,
            changed_at=self.first_seen if circuit.changed_at == NEVER else circuit.changed_at,
            samples=tally.attempts,
            failures=tally.failures,
            p50_ms=latencies.percentile(50),
            p95_ms=latencies.percentile(95),
            p99_ms=latencies.percentile(99),
            first_token_p50_ms=first_tokens.percentile(50),
            first_token_p95_ms=first_tokens.percentile(95),
            last_attempt_at=self.attempted_at,
            probed_at=self.probed_at,
            reachable=self.reachable,
        )


def _differs(before: LatencySummary, after: LatencySummary) -> bool:
    """Return whether a figure has changed noticeably, or there are twice as many samples behind it, or half."""
    pairs = (
        (before.p50_ms, after.p50_ms),
        (before.p95_ms, after.p95_ms),
        (before.first_token_p50_ms, after.first_token_p50_ms),
    )
    if any((old is None) != (new is None) for old, new in pairs):
        return True
    if any(abs((new or 0) - (old or 0)) * 100 > (old or 0) * _NOTICEABLE_PERCENT for old, new in pairs):
        return True
    return not before.samples <= 2 * after.samples <= 4 * before.samples
