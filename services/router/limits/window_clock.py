"""The time by which windows are named: it goes on whatever the system's clock does. Pure."""

from keyferry.contracts.limit_counters import SKEW_MS, WINDOW_MS


class WindowClock:
    """Turns readings of the system's clock into a time that does not go back within a window.

    After a jump back it goes on from where it was, at the pace of the monotonic clock: no window is opened twice, and none
    lasts for ever. If it is then ahead by more than clocks may differ, it returns to the system's clock when its window ends:
    otherwise this router would count in other windows than all others, and each limit would hold twice. After a jump forward
    it follows, as the other routers of the machine do.
    """

    def __init__(self) -> None:
        self._last_ms: int | None = None
        self._last_monotonic_ms = 0

    def advance(self, wall_ms: int, monotonic_ms: int) -> int:
        """Return the time in Unix milliseconds, for readings of both clocks."""
        last_ms = self._last_ms
        if last_ms is not None and wall_ms < last_ms:
            held_ms = last_ms + max(0, monotonic_ms - self._last_monotonic_ms)
            if held_ms - wall_ms <= SKEW_MS or held_ms // WINDOW_MS == last_ms // WINDOW_MS:
                wall_ms = held_ms
        self._last_ms, self._last_monotonic_ms = wall_ms, monotonic_ms
        return wall_ms
