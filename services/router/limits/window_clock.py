"""The time by which windows are named: it never goes back, whatever the system's clock does. Pure."""


class WindowClock:
    """Turns readings of the system's clock into a time that only goes forward.

    After a jump back it goes on from where it was, at the pace of the monotonic clock: no window is opened twice, and none
    lasts for ever. After a jump forward it follows, as the other routers of the machine do.
    """

    def __init__(self) -> None:
        self._last_ms: int | None = None
        self._last_monotonic_ms = 0

    def advance(self, wall_ms: int, monotonic_ms: int) -> int:
        """Return the time in Unix milliseconds, for readings of both clocks."""
        if self._last_ms is not None:
            elapsed_ms = max(0, monotonic_ms - self._last_monotonic_ms)
            if wall_ms < self._last_ms:
                wall_ms = self._last_ms + elapsed_ms
        self._last_ms, self._last_monotonic_ms = wall_ms, monotonic_ms
        return wall_ms
