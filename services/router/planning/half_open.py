"""Limits half-open probes: a target whose circuit was open gets single requests first, not the whole load. Pure."""

from datetime import datetime, timedelta

from keyferry.contracts.health import Health

PROBE_INTERVAL = timedelta(seconds=1)
"""Per router: a target behind a few routers gets a few probes per second at most."""


class HalfOpenLimiter:
    """Allows one probe of a target per interval. Targets are named by their key."""

    def __init__(self) -> None:
        self._last: dict[str, datetime] = {}

    def try_acquire(self, key: str, now: datetime) -> bool:
        """Return whether a probe may be sent now; if so, the next one has to wait."""
        last = self._last.get(key)
        if last is not None and now - last < PROBE_INTERVAL:
            return False
        self._last[key] = now
        return True

    def cancel(self, key: str) -> None:
        """Allow another probe at once: the last one is not sent."""
        self._last.pop(key, None)

    def replace(self, key: str, entry: Health | None) -> None:
        """Take the change of one entry of the health view: a target without one has recovered, or is gone, and is forgotten."""
        if entry is None:
            self._last.pop(key, None)
