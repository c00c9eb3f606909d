"""Raises the alarm about workers whose lease requests are suspicious: in the audit, on the bus, in the log and in the report."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.lease import LeaseKey
from keyferry.contracts.lease_management import LEASE_ALARMED, LeaseAlarm
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.database.event_outbox import enqueue_event
from services.key_vault.database.tables import event_outbox
from services.key_vault.database.transaction import VAULT, Act, Database
from services.key_vault.leases.lease_watch import LeaseWatch

_log = logging.getLogger(__name__)

SHOWN = timedelta(minutes=15)
"""How long an alarm stays in the service's report."""
_MOST_SHOWN = 10
_ACTION = "lease.alarm"
_EVENT = "evt"


class LeaseAlarms:
    """The alarms of one vault process. `wake` has committed events published at once."""

    def __init__(
        self, database: Database, watch: LeaseWatch, clock: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        self._database = database
        self._watch = watch
        self._clock = clock
        self._wake = wake
        self._raised: list[LeaseAlarm] = []

    def degraded(self) -> list[str]:
        """Return the alarms of the last minutes, for the operator."""
        return [f"at {alarm.at:%H:%M:%S} UTC {alarm.detail}" for alarm in self._recent()]

    def facts(self) -> dict[str, str]:
        """Return how many alarms there were within the last minutes."""
        return {"lease_alarms": str(len(self._recent()))}

    async def on_released(self, worker_id: str, request: LeaseKey) -> None:
        """Count a key that was released."""
        request_id = request.request_id or request.attempt_id
        alarm = self._watch.count_lease(worker_id, request.tenant, request_id, request.key_id, self._now_ms())
        await self._raise(alarm)

    async def on_not_granted(self, worker_id: str, tenant: str) -> None:
        """Count a lease request for a request of `tenant` that was refused for its grant or certificate."""
        await self._raise(self._watch.count_refusal(worker_id, tenant, self._now_ms()))

    async def _raise(self, alarm: LeaseAlarm | None) -> None:
        if alarm is None:
            return
        _log.error("lease alarm: %s", alarm.detail, extra={"worker": alarm.worker, "reason": alarm.reason.value})
        self._raised = [*self._recent(), alarm][-_MOST_SHOWN:]
        try:
            await self._record(alarm)
        except DatabaseUnavailable:
            self._watch.retract(alarm)
            _log.warning("a lease alarm is not recorded yet, since the database does not respond")
        else:
            self._wake()

    async def _record(self, alarm: LeaseAlarm) -> None:
        counts = alarm.model_dump(mode="json", include={"refusals", "leases", "requests", "tenants", "window_seconds"})
        act = Act(
            actor=VAULT,
            action=_ACTION,
            tenant=PLATFORM_TENANT,
            target=alarm.worker,
            outcome=AuditOutcome.DONE,
            details={"reason": alarm.reason.value, **{name: str(count) for name, count in counts.items()}},
        )
        subject = LEASE_ALARMED.format(worker=alarm.worker)
        async with self._database.transaction() as connection:
            await enqueue_event(connection, event_outbox, subject, ids.new(_EVENT), alarm.encode())
            await self._database.write_audit(connection, act)

    def _recent(self) -> list[LeaseAlarm]:
        since = self._clock() - SHOWN
        return [alarm for alarm in self._raised if alarm.at >= since]

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1000)
