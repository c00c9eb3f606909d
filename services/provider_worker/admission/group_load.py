"""The attempts of one tenant, of one provider, or of the whole process: how many, and how fast they end."""

from math import exp, inf

_WEIGHT = 1 / 16
"""Of the latest attempt in the mean duration."""
_WINDOW_SECONDS = 2.0
"""Time constant of the rate at which attempts end."""


class GroupLoad:
    """Counts of running and waiting attempts, and an estimate of when one ends. Times are monotonic seconds."""

    __slots__ = (
        "_ended",
        "_ended_at",
        "_mean_seconds",
        "_started_sum",
        "asked_at",
        "members",
        "rank",
        "running",
        "waiting",
    )

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.asked_at = 0.0
        self.members = 0
        """Of a provider: the tenants that use it."""
        self.rank = 0
        """Number of the latest start: whose is lowest has waited longest for its turn."""
        self._started_sum = 0.0
        self._mean_seconds = 0.0
        self._ended = 0.0
        """Attempts that have ended, each of which counts less and less."""
        self._ended_at = 0.0

    def start(self, number: int, now: float) -> None:
        """Count an attempt that starts, the process's `number`-th."""
        self.running += 1
        self.rank = number
        self._started_sum += now

    def finish(self, started_at: float, now: float) -> None:
        """Count the end of an attempt."""
        self.running -= 1
        self._started_sum = self._started_sum - started_at if self.running else 0.0
        duration = now - started_at
        self._mean_seconds += (duration - self._mean_seconds) * (_WEIGHT if self._mean_seconds else 1.0)
        self._ended = self._ended * exp((self._ended_at - now) / _WINDOW_SECONDS) + 1
        self._ended_at = now

    def wait_seconds(self, position: int, now: float) -> float:
        """Estimate the time until the attempt at `position` of a queue starts: until so many of these have ended.

        The rate is that of the last seconds. After a pause there is none, so attempts are also assumed to take as long as
        earlier ones, or as long as they have taken already. Both rates fall towards zero where a provider hangs.
        """
        if not self.running:
            return 0.0
        duration = max(self._mean_seconds, now - self._started_sum / self.running)
        if duration <= 0:
            return 0.0
        ended_per_second = self._ended * exp((self._ended_at - now) / _WINDOW_SECONDS) / _WINDOW_SECONDS
        rate = max(ended_per_second, self.running / duration)
        return position / rate if rate else inf
