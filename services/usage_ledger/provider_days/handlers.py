"""Handlers of requests about attempts by a provider's days."""

from keyferry.contracts.reconciliation import ListUsageAttempts, ProviderDay, SumProviderDay, UsageAttempts
from keyferry.contracts.reconciliation_management import USAGE_LIST_ATTEMPTS, USAGE_SUM_PROVIDER_DAY
from keyferry.runtime.bus.connection import Bus
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.provider_days.store import ProviderDayStore


class ProviderDayHandlers:
    """Handlers of one process. They raise Refused."""

    def __init__(self, store: ProviderDayStore) -> None:
        self._store = store

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(USAGE_SUM_PROVIDER_DAY, self.sum_day)
        bus.respond(USAGE_LIST_ATTEMPTS, self.list_attempts)

    async def sum_day(self, command: SumProviderDay) -> ProviderDay:
        """Add up a day of attempts at a provider."""
        with refuse_outages():
            return await self._store.sum_day(command)

    async def list_attempts(self, command: ListUsageAttempts) -> UsageAttempts:
        """Return a page of a tenant's attempts."""
        with refuse_outages():
            return UsageAttempts(rows=await self._store.list_attempts(command))
