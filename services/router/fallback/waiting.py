"""Limits how many requests wait for a target to recover: when it does, they all arrive there at once. Pure."""

MAX_WAITING = 50
"""Requests of one router that may wait for one target."""
_MAX_TARGETS = 2000


class WaitingRequests:
    """Counts waiting requests by target, until each has waited. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ends: dict[str, list[float]] = {}

    def may_wait(self, target: str, now: float) -> bool:
        """Return whether one more request may wait for the target."""
        ends = self._ends.get(target)
        if ends is None:
            return len(self._ends) < _MAX_TARGETS or self._forget(now) < _MAX_TARGETS
        ends[:] = [end for end in ends if end > now]
        return len(ends) < MAX_WAITING

    def add(self, target: str, delay_ms: int, now: float) -> None:
        """Count a request that waits for so long."""
        self._ends.setdefault(target, []).append(now + delay_ms / 1000)

    def _forget(self, now: float) -> int:
        self._ends = {target: left for target, ends in self._ends.items() if (left := [e for e in ends if e > now])}
        return len(self._ends)
