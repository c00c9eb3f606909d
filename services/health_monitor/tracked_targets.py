"""The tracked targets by owner, in bounded memory: what one owner adds never takes the places of what all share. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

from keyferry.contracts.health import Target
from services.health_monitor.tracked_target import TrackedTarget

_EVICTED_SHARE = 20
"""A twentieth of the targets is evicted at once, since finding the oldest of all takes a look at each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryLimits:
    """Limits of the registry's memory."""

    recent_span: timedelta = timedelta(minutes=5)
    """The span of the figures shown to people."""
    keep_unused: timedelta = timedelta(hours=24)
    """How long a target without attempts is still probed and shown."""
    targets_per_owner: int = 500
    """A tenant can invent model names for its own endpoint; they must not evict other owners' targets."""
    shared_targets: int = 5_000
    """Targets that belong to no tenant."""
    targets: int = 20_000
    """Those of all tenants together; beyond it the ones that were unused for longest are evicted."""
    listed: int = 5_000
    """Targets in one list: it has to fit into a message."""


class TrackedTargets:
    """Tracked targets by their owner and key; None owns what tenants share."""

    def __init__(self, limits: RegistryLimits) -> None:
        self._limits = limits
        self._owners: dict[str | None, dict[str, TrackedTarget]] = {}
        self._of_tenants = 0

    def __len__(self) -> int:
        return self._of_tenants + len(self._owners.get(None, ()))

    def __iter__(self) -> Iterator[TrackedTarget]:
        for own in self._owners.values():
            yield from own.values()

    def find(self, target: Target) -> TrackedTarget | None:
        """Return a target, if it is tracked."""
        own = self._owners.get(target.tenant)
        return None if own is None else own.get(target.key)

    def of(self, owner: str | None) -> Collection[TrackedTarget]:
        """Return the targets of an owner."""
        return self._owners.get(owner, {}).values()

    def has_place(self, owner: str | None) -> bool:
        """Return whether one more target of an owner can be tracked; a closed one that was unused for longest makes way."""
        if owner is None:
            return self._has_place(self._owners.get(None, {}), self._limits.shared_targets)
        if not self._has_place(self._owners.get(owner, {}), self._limits.targets_per_owner):
            return False
        return self._of_tenants < self._limits.targets or self._evict_of_all()

    def add(self, tracked: TrackedTarget) -> None:
        """Track a target, for which there has to be a place."""
        self._owners.setdefault(tracked.target.tenant, {})[tracked.target.key] = tracked
        self._of_tenants += tracked.target.tenant is not None

    def remove(self, tracked: TrackedTarget) -> None:
        """Track a target no longer."""
        owner = tracked.target.tenant
        own = self._owners[owner]
        del own[tracked.target.key]
        self._of_tenants -= owner is not None
        if not own:
            del self._owners[owner]

    def _has_place(self, own: dict[str, TrackedTarget], most: int) -> bool:
        if len(own) < most:
            return True
        closed = (tracked for tracked in own.values() if tracked.is_closed)
        oldest = min(closed, key=lambda tracked: tracked.last_seen, default=None)
        if oldest is None:
            return False
        self.remove(oldest)
        return True

    def _evict_of_all(self) -> bool:
        """Evict the tenants' closed targets that were unused for longest; return False if there are none."""
        closed = [tracked for tracked in self if tracked.target.tenant is not None and tracked.is_closed]
        closed.sort(key=lambda tracked: tracked.last_seen)
        oldest = closed[: max(1, self._limits.targets // _EVICTED_SHARE)]
        for tracked in oldest:
            self.remove(tracked)
        return bool(oldest)
