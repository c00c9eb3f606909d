"""Filters and ranks candidates by recent failures in other requests: circuits of targets, and pauses of keys. Pure."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum

from keyferry.contracts.health import (
    CLOCK_SKEW,
    LONGEST_COOLING,
    MAX_FORCED_SECONDS,
    CircuitState,
    Health,
    KeyClass,
    Target,
    target_of_call,
)
from keyferry.contracts.route import Candidate, DropReason
from keyferry.contracts.usage import KeySource
from services.router.planning.context import RouteRequest, RoutingContext

_OTHERS_FIRST = "others come first until a probe has succeeded"
_IS_PROBE = "this request is the half-open probe"


class HealthRank(IntEnum):
    """The rank of a candidate by health among those of the same owner; the lowest is tried first."""

    HALF_OPEN_PROBE = 0
    """Its circuit is half-open, and this request is the probe: the next candidate answers if it fails again."""
    HEALTHY = 1
    RECOVERING = 2
    """Its circuit is half-open, and another request's probe has not succeeded yet."""


Place = tuple[int | float | Decimal, ...]
"""The sort key of a candidate: the model's position, the group of owners, other keys of a provider whose key has
failed first, the health rank, and what else decides."""
_LEADING = 3
"""Parts of a place that name the group in which candidates are ranked by health."""
_LONGEST = LONGEST_COOLING + CLOCK_SKEW
_LONGEST_FORCED = timedelta(seconds=MAX_FORCED_SECONDS) + CLOCK_SKEW


_Call = tuple[str, str | None, str, KeySource, str | None]
"""Provider, endpoint, model, key source and origin: what a target is made of, within one request."""


def target_of(candidate: Candidate, tenant: str, origin: str | None) -> Target:
    """Return the target of a candidate, as the health monitor derives it from the attempt. `origin` is what would be called."""
    return target_of_call(
        provider=candidate.provider,
        model=candidate.model,
        origin=origin,
        key_source=candidate.key_source,
        tenant=tenant,
        endpoint=candidate.endpoint,
    )


class HealthFilter:
    """Filters the candidates of one plan. All keys of a target share one probe, and a plan has one probe at most."""

    def __init__(self, request: RouteRequest, context: RoutingContext) -> None:
        self._request = request
        self._context = context
        self._seen: dict[_Call, tuple[Target, tuple[HealthRank, str] | str]] = {}
        """What is known of the target of each call, since many keys share one."""
        self._half_open: dict[int, Target] = {}
        self.paced: set[int] = set()
        """Candidates whose key has used most of its rate limit, by their index."""
        self.withheld: list[Health] = []
        """Why candidates were dropped: the health of targets and keys that get no requests now."""
        self.probed: Target | None = None
        """The half-open target that this request probes, if it does."""
        self.recoveries: list[datetime] = []
        """When each of the dropped candidates takes requests again: after the pause of its key and that of its target."""
        self._resting: dict[str, datetime] = {}
        """Until when targets get no requests, by their keys."""

    def apply(self, candidate: Candidate, index: int, origin: str | None) -> tuple[Candidate, HealthRank]:
        """Return the candidate, dropped if it must not be tried now, and its health rank.

        `index` is its place among the candidates, `origin` what a call would be sent to. Once all are added, `place_probe`
        decides which half-open target is probed.
        """
        call = candidate.provider, candidate.endpoint, candidate.model, candidate.key_source, origin
        known = self._seen.get(call)
        if known is None:
            target = target_of(candidate, self._request.tenant, origin)
            known = self._seen[call] = self._health(target)
        target, seen = known
        if candidate.key_id in self._context.paused_keys:
            pause = self._pause_of_key(target, candidate.key_id)
            if pause is not None:
                until, why = pause
                self.recoveries.append(max(until, self._resting.get(target.key, until)))
                return drop(candidate, DropReason.KEY_COOLING, why), HealthRank.HEALTHY
            if (pace := self._pace_of_key(target, candidate.key_id)) is not None:
                self.paced.add(index)
                candidate = candidate.model_copy(update={"detail": f"{candidate.detail}; {pace}"})
        if isinstance(seen, str):
            self.recoveries.append(self._resting[target.key])
            return drop(candidate, DropReason.UNHEALTHY, seen), HealthRank.HEALTHY
        health_rank, detail = seen
        if detail:
            self._half_open[index] = target
            candidate = candidate.model_copy(update={"detail": f"{candidate.detail}; {detail}"})
        return candidate, health_rank

    def place_probe(self, order: list[tuple[Place, int]], candidates: list[Candidate]) -> None:
        """Move one half-open candidate to the front, in `order` and in its detail, if it may be probed now.

        Only one of the group that leads the plan, so that no probe is used up in vain.
        """
        if not self._half_open:
            return
        leading = min(place[:_LEADING] for place, _ in order) if order else ()
        group = [item for item in order if item[0][:_LEADING] == leading and len(item[0]) > _LEADING]
        if len(group) < sum(place[:_LEADING] == leading for place, _ in order):
            return  # the echo leads, which needs no probe
        for place, index in sorted(group):
            target = self._half_open.get(index)
            if target is not None and self._context.may_probe(target):
                self.probed = target
                probing = (*place[:_LEADING], HealthRank.HALF_OPEN_PROBE, *place[_LEADING + 1 :])
                order[order.index((place, index))] = (probing, index)
                detail = candidates[index].detail.replace(_OTHERS_FIRST, _IS_PROBE)
                candidates[index] = candidates[index].model_copy(update={"detail": detail})
                return

    def find_recovery(self, candidate: Candidate, origin: str | None) -> datetime | None:
        """Return when a candidate that only pauses takes requests again; None if it does now, or if its circuit is open."""
        target = target_of(candidate, self._request.tenant, origin)
        targets = [target]
        if target.tenant is None:
            targets.append(target.of_tenant(self._request.tenant))
        if candidate.key_id is not None:
            targets.append(target.of_key(candidate.key_id, self._request.tenant))
        recovery = None
        for health in map(self._context.health, targets):
            if health is None or health.until is None or self._withheld_seconds(health) is None:
                continue
            if health.state is CircuitState.PACING:
                continue
            if health.state is not CircuitState.COOLING:
                return None
            recovery = health.until if recovery is None else max(recovery, health.until)
        return recovery

    def _health(self, target: Target) -> tuple[Target, tuple[HealthRank, str] | str]:
        """Return what is known of a target; the target itself, or this tenant's use of it, whichever is worse."""
        seen = self._rank(target)
        if target.tenant is None and target.key_class is not KeyClass.NONE and not isinstance(seen, str):
            of_tenant = target.of_tenant(self._request.tenant)
            own = self._rank(of_tenant)
            if isinstance(own, str) or own[0] > seen[0]:
                return of_tenant, own
        return target, seen

    def _rank(self, target: Target) -> tuple[HealthRank, str] | str:
        health = self._context.health(target)
        if health is None or health.state is CircuitState.CLOSED:
            return HealthRank.HEALTHY, ""
        if (rest_seconds := self._withheld_seconds(health)) is not None:
            self.withheld.append(health)
            self._resting[target.key] = self._context.now + timedelta(seconds=rest_seconds)
            name = target.endpoint or f"{target.provider}'s {target.model}"
            return f"{name} gets no requests for another {rest_seconds:.1f} s: {health.reason}"
        return HealthRank.RECOVERING, f"its circuit was {health.state}, and {_OTHERS_FIRST}"

    def _pause_of_key(self, target: Target, key_id: str | None) -> tuple[datetime, str] | None:
        """Return until when and why one key gets no requests for the target's model now; None if it may get some."""
        if key_id is None:
            return None
        health = self._context.health(target.of_key(key_id, self._request.tenant))
        if health is None or health.state in (CircuitState.CLOSED, CircuitState.PACING):
            return None
        if (rest_seconds := self._withheld_seconds(health)) is None:
            return None
        self.withheld.append(health)
        until = self._context.now + timedelta(seconds=rest_seconds)
        return until, f"this key gets no requests for {target.model} for another {rest_seconds:.1f} s: {health.reason}"

    def _pace_of_key(self, target: Target, key_id: str | None) -> str | None:
        """Return why other keys of equal rank come before this one; None if they do not."""
        health = None if key_id is None else self._context.health(target.of_key(key_id, self._request.tenant))
        if health is None or health.state is not CircuitState.PACING or self._withheld_seconds(health) is None:
            return None
        return f"other keys of equal rank come first: {health.reason}"

    def _withheld_seconds(self, health: Health) -> float | None:
        """Return for how long the entry still holds; None if it is over, or so long that a clock must have jumped."""
        rest = timedelta(0) if health.until is None else health.until - self._context.now
        longest = _LONGEST if health.forced is None else _LONGEST_FORCED
        return rest.total_seconds() if timedelta(0) < rest <= longest else None


def drop(candidate: Candidate, reason: DropReason, detail: str) -> Candidate:
    """Return the candidate as dropped for this reason."""
    return candidate.model_copy(update={"kept": False, "reason": reason, "detail": detail})
