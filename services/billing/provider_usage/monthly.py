"""Compares each month with providers for tenants that want it, once the month has ended."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from keyferry.contracts.reconciliation import ReconciliationSchedule, RunReconciliation
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.provider_usage.months import month_before, next_run
from services.billing.provider_usage.reconciler import Reconciler
from services.billing.provider_usage.store import ReconciliationStore

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0
_TRY_AGAIN = timedelta(hours=1)
ACTOR = "billing"


class MonthlyReconciliation:
    """Runs schedules that are due, in whichever process takes them first."""

    def __init__(self, store: ReconciliationStore, reconciler: Reconciler, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._reconciler = reconciler
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to run schedules."""
        self._task = asyncio.create_task(self._run(), name="monthly reconciliations")

    async def stop(self) -> None:
        """Stop; a run that is interrupted is tried again within an hour."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            try:
                while await self.run_next():
                    pass
            except DatabaseUnavailable:
                _log.warning("cannot read the schedules of reconciliations: the database does not answer")
            await asyncio.sleep(_EVERY_SECONDS)

    async def run_next(self) -> bool:
        """Run a schedule that is due; return whether there was one. Raises DatabaseUnavailable."""
        now = self._clock()
        schedule = await self._store.claim_due(now, now + _TRY_AGAIN)
        if schedule is None:
            return False
        await self._compare(schedule, now)
        return True

    async def _compare(self, schedule: ReconciliationSchedule, now: datetime) -> None:
        since, until = month_before(now.date())
        command = RunReconciliation(
            tenant=schedule.tenant, provider=schedule.provider, since=since, until=until, actor=ACTOR
        )
        try:
            report = await self._reconciler.run(command)
        except (BusError, Refused) as error:
            _log.warning("a reconciliation failed", extra={"provider": schedule.provider, "reason": str(error)})
            await self._store.finish_run(
                schedule, next_run_at=now + _TRY_AGAIN, ran_at=now, reconciliation_id=None, error=str(error)
            )
            return
        await self._reconciler.report_alert(report)
        await self._store.finish_run(
            schedule,
            next_run_at=next_run(schedule.day_of_month, now),
            ran_at=now,
            reconciliation_id=report.reconciliation_id,
            error=None,
        )
