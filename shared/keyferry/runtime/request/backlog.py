"""The requests of a process that are not answered yet: whether so many wait for so long that more would come too late. Pure."""

from collections import Counter

from keyferry.contracts.chat import START_WITHIN_MS

_MIN_WAITING = 256
"""Fewer may be those that one frozen or dead process had: they are sent again."""
_MAX_SECONDS = 0.8 * START_WITHIN_MS / 1000
"""Behind an older one a new request would probably come too late to start."""


class Backlog:
    """Requests by token, from their sending to the first frame. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, str]] = {}
        self._by_tenant: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, token: str, tenant: str, now: float) -> None:
        """Count a request that is about to be sent."""
        self._waiting[token] = (now, tenant)
        self._by_tenant[tenant] += 1

    def remove(self, token: str) -> None:
        """Forget a request that has its first frame or is over; harmless for others."""
        if (found := self._waiting.pop(token, None)) is not None:
            tenant = found[1]
            self._by_tenant[tenant] -= 1
            if not self._by_tenant[tenant]:
                del self._by_tenant[tenant]

    def refuses(self, tenant: str, now: float) -> bool:
        """Return whether another request of this tenant is to be refused.

        So it is if many wait, the oldest for almost as long as it may, and the tenant has its equal part of them: the less
        there is to do, the sooner those that wait are answered.
        """
        if len(self._waiting) < _MIN_WAITING:
            return False
        oldest, _ = next(iter(self._waiting.values()))
        own = self._by_tenant.get(tenant, 0)
        return now - oldest > _MAX_SECONDS and own * len(self._by_tenant) >= len(self._waiting)
