"""Attempts at a target that tenants share, counted by tenant: what only one tenant's requests prove must not affect the others.

A tenant can let its own requests fail: by a deadline that is too short for the model, by a base URL with a wrong path, by an
account that the provider has broken, or by a request that no provider can digest. Pure.
"""

from datetime import datetime, timedelta

from services.health_monitor.window import SlidingCounts, Tally

MAX_TENANTS = 1000
"""Of one target, within its window; those beyond it count for the target only."""
MIN_FAILURES_OF_OTHERS = 2
"""A single failure of another tenant may be chance."""
_NONE = Tally()


class TenantCounts:
    """The counts of one target within its window of `span`, by tenant."""

    def __init__(self, span: timedelta) -> None:
        self._span = span
        self._by_tenant: dict[str, SlidingCounts] = {}
        self._swept_at: datetime | None = None

    def __len__(self) -> int:
        return len(self._by_tenant)

    def add(self, tenant: str, ended_at: datetime, now: datetime, *, failed: bool) -> None:
        """Count an attempt of a tenant."""
        self.sweep(now)
        counts = self._by_tenant.get(tenant)
        if counts is None:
            if len(self._by_tenant) >= MAX_TENANTS:
                return
            counts = self._by_tenant[tenant] = SlidingCounts(self._span)
        counts.add(ended_at, now, failed=failed)

    def find(self, tenant: str) -> SlidingCounts | None:
        """Return the counts of a tenant, which go on to be counted; None without an attempt in the window."""
        return self._by_tenant.get(tenant)

    def several_fail(self, failure_percent: int, now: datetime) -> bool:
        """Return whether the target fails without the tenant with the most failures as well, by the same share."""
        tallies = [counts.tally(now) for counts in self._by_tenant.values()]
        worst = max(tallies, key=lambda tally: tally.failures, default=_NONE)
        failures = sum(tally.failures for tally in tallies) - worst.failures
        attempts = sum(tally.attempts for tally in tallies) - worst.attempts
        return failures >= MIN_FAILURES_OF_OTHERS and failures * 100 >= attempts * failure_percent

    def clear(self) -> None:
        """Remove all counts."""
        self._by_tenant.clear()

    def sweep(self, now: datetime) -> None:
        """Forget tenants without an attempt in the window, once in a window at most."""
        if self._swept_at is not None and timedelta(0) <= now - self._swept_at < self._span:
            return
        self._swept_at = now
        for tenant in [name for name, counts in self._by_tenant.items() if not counts.tally(now).attempts]:
            del self._by_tenant[tenant]
