"""Retry budgets: a provider that fails gets at most a tenth more calls than requests, from all tenants and from each. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import FailureClass

RETRY_PERCENT = 10
"""Of the requests of the window, how many may be tried again."""
MIN_RETRIES_PER_SECOND = 1
"""What is allowed however few requests there are."""
WINDOW_SECONDS = 10
_MIN_RETRIES = MIN_RETRIES_PER_SECOND * WINDOW_SECONDS
_MAX_WINDOWS = 20_000
"""Idle ones are dropped beyond this number."""
_TURNED_AWAY = frozenset({FailureClass.AUTH, FailureClass.QUOTA, FailureClass.NOT_FOUND})


def is_repeated(before: Sequence[FailedAttempt]) -> bool:
    """Return whether another attempt at a server counts as a retry, after those that have failed there.

    Not after one that the provider turned away because of its key: that is no load, and another key may be welcome.
    """
    return not before[-1].no_key and before[-1].failure.failure_class not in _TURNED_AWAY


@dataclass(slots=True)
class _Window:
    """Requests and retries of the last WINDOW_SECONDS, by second."""

    requests: list[int]
    retries: list[int]
    second: int

    def advance(self, second: int) -> None:
        """Drop what is older than the window. A clock that goes back changes nothing."""
        for passed in range(min(second - self.second, WINDOW_SECONDS)):
            place = (self.second + passed + 1) % WINDOW_SECONDS
            self.requests[place] = self.retries[place] = 0
        self.second = max(self.second, second)

    def allows(self) -> bool:
        """Return whether one more retry stays within the budget."""
        return sum(self.retries) < max(sum(self.requests) * RETRY_PERCENT // 100, _MIN_RETRIES)


class RetryBudget:
    """Counts requests and retries by server, and by tenant and server. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str | None], _Window] = {}
        self._dropped_second = -1
        """When idle windows were dropped last: not with each request, while all of many are in use."""

    def __len__(self) -> int:
        return len(self._windows)

    def allows(self, tenant: str, server: str, now: float) -> bool:
        """Return whether a request of `tenant` may be tried again at `server`."""
        second = int(now)
        for name in ((server, tenant), (server, None)):
            window = self._windows.get(name)
            if window is not None:
                window.advance(second)
                if not window.allows():
                    return False
        return True

    def count(self, tenant: str, server: str, now: float, *, retry: bool) -> None:
        """Count an attempt at `server`: the request's first there, or a retry."""
        second = int(now)
        for name in ((server, tenant), (server, None)):
            window = self._window(name, second)
            window.advance(second)
            (window.retries if retry else window.requests)[window.second % WINDOW_SECONDS] += 1

    def _window(self, name: tuple[str, str | None], second: int) -> _Window:
        window = self._windows.get(name)
        if window is None:
            if len(self._windows) >= _MAX_WINDOWS and second != self._dropped_second:
                self._dropped_second = second
                oldest = second - WINDOW_SECONDS
                self._windows = {name: kept for name, kept in self._windows.items() if kept.second > oldest}
            window = self._windows[name] = _Window([0] * WINDOW_SECONDS, [0] * WINDOW_SECONDS, second)
        return window
