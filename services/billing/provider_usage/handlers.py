"""Handlers of requests about comparisons with providers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.reconciliation import (
    ADMIN_KEY_KINDS,
    GetReconciliation,
    ListReconciliations,
    ListReconciliationSchedules,
    Reconciliation,
    Reconciliations,
    ReconciliationSchedule,
    ReconciliationSchedules,
    RemoveReconciliationSchedule,
    RunReconciliation,
    SaveReconciliationSchedule,
)
from keyferry.contracts.reconciliation_management import (
    RECONCILIATION_GET,
    RECONCILIATION_LIST,
    RECONCILIATION_RUN,
    RECONCILIATION_SCHEDULE_LIST,
    RECONCILIATION_SCHEDULE_REMOVE,
    RECONCILIATION_SCHEDULE_SAVE,
)
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.provider_usage.months import next_run
from services.billing.provider_usage.reconciler import Reconciler
from services.billing.provider_usage.store import ReconciliationStore


class ReconciliationHandlers:
    """Handlers of one process. They raise Refused."""

    def __init__(self, store: ReconciliationStore, reconciler: Reconciler, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._reconciler = reconciler
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(RECONCILIATION_RUN, self.run)
        bus.respond(RECONCILIATION_LIST, self.list_reports)
        bus.respond(RECONCILIATION_GET, self.get)
        bus.respond(RECONCILIATION_SCHEDULE_SAVE, self.save_schedule)
        bus.respond(RECONCILIATION_SCHEDULE_REMOVE, self.remove_schedule)
        bus.respond(RECONCILIATION_SCHEDULE_LIST, self.list_schedules)

    async def run(self, command: RunReconciliation) -> Reconciliation:
        """Compare days now."""
        async with _refusing_outages():
            return await self._reconciler.run(command)

    async def list_reports(self, command: ListReconciliations) -> Reconciliations:
        """Return a page of reports without their rows."""
        async with _refusing_outages():
            found = await self._store.list_reports(command)
        following = found[-1].reconciliation_id if len(found) == command.limit else None
        return Reconciliations(tenant=command.tenant, reconciliations=found, next=following)

    async def get(self, command: GetReconciliation) -> Reconciliation:
        """Return one report with its rows."""
        async with _refusing_outages():
            found = await self._store.get(command.tenant, command.reconciliation_id)
        if found is None:
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"the tenant has no such reconciliation: `keyferry reconcile list --tenant {command.tenant}` shows them",
            )
        return found

    async def save_schedule(self, command: SaveReconciliationSchedule) -> ReconciliationSchedule:
        """Add or replace a monthly comparison."""
        if command.provider not in PROVIDERS:
            raise Refused(ErrorCode.INVALID, "there is no such provider: `keyferry providers list` lists them")
        if command.provider not in ADMIN_KEY_KINDS:
            providers = ", ".join(sorted(ADMIN_KEY_KINDS))
            raise Refused(
                ErrorCode.INVALID,
                f"{command.provider} cannot be asked for usage, only {providers}: compare its invoices by hand",
            )
        async with _refusing_outages():
            return await self._store.save_schedule(command, next_run(command.day_of_month, self._clock()))

    async def remove_schedule(self, command: RemoveReconciliationSchedule) -> ReconciliationSchedule:
        """End a monthly comparison."""
        async with _refusing_outages():
            removed = await self._store.remove_schedule(command)
        if removed is None:
            raise Refused(ErrorCode.NOT_FOUND, "the tenant has no monthly comparison with this provider")
        return removed

    async def list_schedules(self, command: ListReconciliationSchedules) -> ReconciliationSchedules:
        """Return a tenant's monthly comparisons."""
        async with _refusing_outages():
            found = await self._store.list_schedules(command.tenant)
        return ReconciliationSchedules(tenant=command.tenant, schedules=found, with_api=sorted(ADMIN_KEY_KINDS))


@asynccontextmanager
async def _refusing_outages() -> AsyncIterator[None]:
    try:
        yield
    except DatabaseUnavailable:
        message = (
            "the billing service cannot reach its database: try again in a moment; `keyferry doctor` shows the cause"
        )
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
    except Refused:
        raise
    except BusError as error:
        message = f"the usage ledger or the key vault does not answer ({error}): try again in a moment"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
