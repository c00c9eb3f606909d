"""Limits how many requests wait for a target to recover: when it does, they all arrive there at once. Pure."""

MAX_WAITING = 150
"""Requests of one router that may wait for one target."""
MAX_WAITING_OF_TENANT = 50
"""How many of them may be of one tenant: the pause of a shared target is no reason to refuse the others' requests."""
_MAX_TARGETS = 2000


class WaitingRequests:
    """Counts waiting requests by target, until each has waited. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ends: dict[str, list[tuple[float, str]]] = {}

    def may_wait(self, tenant: str, target: str, now: float) -> bool:
        """Return whether one more request of `tenant` may wait for the target."""
        waiting = self._ends.get(target)
        if waiting is None:
            return len(self._ends) < _MAX_TARGETS or self._forget(now) < _MAX_TARGETS
        waiting[:] = [one for one in waiting if one[0] > now]
        own = sum(1 for _, each in waiting if each == tenant)
        return len(waiting) < MAX_WAITING and own < MAX_WAITING_OF_TENANT

    def add(self, tenant: str, target: str, delay_ms: int, now: float) -> None:
        """Count a request of `tenant` that waits for so long."""
        self._ends.setdefault(target, []).append((now + delay_ms / 1000, tenant))

    def _forget(self, now: float) -> int:
        self._ends = {
            name: left for name, ends in self._ends.items() if (left := [one for one in ends if one[0] > now])
        }
        return len(self._ends)
