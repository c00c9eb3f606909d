"""How much of an account a router sets aside in two seconds, from the last seconds. Pure."""

_SECOND_MS = 1000


class RecentDemand:
    """Sums by whole second: of the current one and the two before."""

    __slots__ = ("_before", "_current", "_earlier", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._current = self._before = self._earlier = 0

    def add(self, amount: int, now_ms: int) -> None:
        """Count an amount that was asked for at `now_ms`."""
        self._advance(now_ms // _SECOND_MS)
        self._current += amount

    def of_two_seconds(self, now_ms: int) -> int:
        """Return what was asked for in the two seconds before `now_ms`; the oldest of three seconds counts in part."""
        self._advance(now_ms // _SECOND_MS)
        part_ms = _SECOND_MS - now_ms % _SECOND_MS
        return self._current + self._before + self._earlier * part_ms // _SECOND_MS

    def _advance(self, second: int) -> None:
        # A clock that is set back leaves the sums where they are.
        passed = second - self._second
        if passed <= 0:
            return
        before = self._current if passed == 1 else 0
        earlier = self._before if passed == 1 else self._current if passed == 2 else 0
        self._second, self._current, self._before, self._earlier = second, 0, before, earlier
