"""How long to wait before a crashed process is started again. Pure."""

from keyferry.runtime.backoff import Backoff

FORGIVEN_AFTER_SECONDS = 30.0
"""After a run of this length, earlier crashes no longer count."""
_RESTARTS = Backoff(first_seconds=0.4, longest_seconds=10.0)


class RestartBackoff:
    """The delay before each restart of one process: it doubles with each crash in a row."""

    def __init__(self) -> None:
        self._crashes = 0

    def delay_seconds(self, lived_seconds: float) -> float:
        """Return the delay after a run of `lived_seconds` that ended by itself."""
        if lived_seconds >= FORGIVEN_AFTER_SECONDS:
            self._crashes = 0
        delay_seconds = _RESTARTS.delay_seconds(self._crashes)
        self._crashes += 1
        return delay_seconds
