"""How often a target that failed may be tried again: one request at a time, not the whole load. Pure."""

from datetime import datetime, timedelta

PROBE_INTERVAL = timedelta(seconds=1)
"""Of one router: a target behind a few routers sees a few trials a second at the most."""


class HalfOpenLimiter:
    """Remembers the last trial of each target by its key."""

    def __init__(self) -> None:
        self._last: dict[str, datetime] = {}

    def try_acquire(self, key: str, now: datetime) -> bool:
        """Whether a trial may be made now; if so, the next one has to wait."""
        last = self._last.get(key)
        if last is not None and now - last < PROBE_INTERVAL:
            return False
        self._last[key] = now
        return True

    def retain(self, keys: set[str]) -> None:
        """Targets that are well again, or gone, need no memory."""
        self._last = {key: last for key, last in self._last.items() if key in keys}
