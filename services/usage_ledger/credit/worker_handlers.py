"""Handlers of an operator's questions about workers whose attempts hold credit."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from keyferry.contracts.credit import RETIRED_UNIX_MS
from keyferry.contracts.credit_workers import (
    CreditWorker,
    CreditWorkers,
    DeclareWorkerLost,
    ListCreditWorkers,
    WaitingCredit,
    WorkerDeclaredLost,
)
from keyferry.contracts.ledger_management import CREDIT_WORKER_DECLARE_LOST, CREDIT_WORKER_LIST
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.credit.reports import SpoolReport, find_replaced
from services.usage_ledger.credit.worker_store import CreditWorkerStore, UnknownWorker, WorkerReports
from services.usage_ledger.database_outage import refuse_outages

_BEHIND_MS = 15_000
"""A watermark so old belongs to a worker that is gone, or to an attempt that takes long."""

RecordAudit = Callable[[str, str, str, dict[str, str]], Awaitable[None]]
"""Appends to the audit: actor, action, target, details."""


class CreditWorkerHandlers:
    """Answers requests about workers. All raise Refused."""

    def __init__(self, store: CreditWorkerStore, audit: RecordAudit, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(CREDIT_WORKER_LIST, self.list_workers)
        bus.respond(CREDIT_WORKER_DECLARE_LOST, self.declare_lost)

    async def list_workers(self, command: ListCreditWorkers) -> CreditWorkers:
        """Return the workers, and the credit of ended leases that waits for them."""
        now = self._clock()
        late_ms = int(now.timestamp() * 1000) - _BEHIND_MS
        with refuse_outages():
            reports = await self._store.list_reports()
            waiting = await self._store.list_waiting(late_ms)
        replaced = find_replaced(reports, now)
        return CreditWorkers(
            workers=[_describe(one, late_ms, replaced.get((one.worker, one.spool_id))) for one in reports],
            waiting=[WaitingCredit(account=name, leases=count, amount=amount) for name, count, amount in waiting],
        )

    async def declare_lost(self, command: DeclareWorkerLost) -> WorkerDeclaredLost:
        """Wait no longer for the records of a worker. It is audited before."""
        try:
            with refuse_outages():
                spools = await self._store.find_silent(command.worker, command.spool_id, self._clock())
                details = {"spools": " ".join(spools)}
                await self._audit(command.actor, "credit_worker.declare_lost", command.worker, details)
                await self._store.forget(command.worker, spools)
        except UnknownWorker:
            message = (
                f"no such spool of {command.worker} has reported: `keyferry credits workers` shows those that have"
            )
            raise Refused(ErrorCode.NOT_FOUND, message) from None
        except WorkerReports:
            message = f"{command.worker} has reported within the last minute, so it is not lost: stop it first"
            raise Refused(ErrorCode.CONFLICT, message) from None
        return WorkerDeclaredLost(worker=command.worker, spools=spools)


def _describe(report: SpoolReport, late_ms: int, replaced_by: str | None) -> CreditWorker:
    retired = report.settled_until_ms == RETIRED_UNIX_MS
    return CreditWorker(
        worker=report.worker,
        spool_id=report.spool_id,
        settled_until=None if retired else datetime.fromtimestamp(report.settled_until_ms / 1000, UTC),
        seen_at=report.seen_at,
        blocks=not retired and report.settled_until_ms < late_ms,
        replaced_by=replaced_by,
    )
