"""How many requests of each tenant were committed, for the installation's stream: all rows would be too many. Pure."""

from collections import Counter

from keyferry.contracts.live_events import RequestsRecorded
from services.console.live_events.bodies import RequestCountsEvent, TenantRequestCount


class RequestCounts:
    """Counts that are still to be sent, and the number of the last message in them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.seq = 0
        self.since_seconds = 0.0
        """When the first of them was added."""

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, recorded: RequestsRecorded, seq: int, now_seconds: float) -> None:
        """Add the requests of one message."""
        if not self._counts:
            self.since_seconds = now_seconds
        self._counts[recorded.tenant] += len(recorded.requests) + recorded.skipped
        self.seq = seq

    def take(self) -> RequestCountsEvent:
        """Return the counts, and begin anew."""
        counts, self._counts = self._counts, Counter()
        rows = [TenantRequestCount(tenant=tenant, count=count) for tenant, count in sorted(counts.items())]
        return RequestCountsEvent(requests=rows, count=sum(counts.values()))
