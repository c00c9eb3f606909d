"""Scheduled reports and their runs in PostgreSQL. A change and its audit event are committed together."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import bindparam

from keyferry.contracts import ids
from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.usage_mail import (
    MAX_REPORTS,
    ReportRun,
    ReportRunState,
    ReportTerms,
    SaveReport,
    ScheduledReport,
)
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.people import People
from services.notifier.rejection import NotifierRefusal, changed_meanwhile, unknown
from services.notifier.reports.calendar import next_due, period_before

CLAIM = timedelta(minutes=5)
"""Longer than a report may take to be computed and sent."""
_SELECT = """
SELECT reports.*, run.period_start, run.period_end, run.state, run.at, run.detail
FROM notifier.reports LEFT JOIN LATERAL (
    SELECT * FROM notifier.report_runs WHERE report_runs.report_id = reports.report_id ORDER BY period_start DESC LIMIT 1
) AS run ON true
"""
_LIST = text(f"{_SELECT} WHERE reports.tenant = :tenant ORDER BY created_at, reports.report_id")
_GET = text(f"{_SELECT} WHERE reports.tenant = :tenant AND reports.report_id = :report_id")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('notifier reports ' || :tenant, 0))")
_ADD = text("""
INSERT INTO notifier.reports (report_id, tenant, terms, revision, created_at, next_at)
VALUES (:report_id, :tenant, :terms, 1, :now, :next_at)
""").bindparams(bindparam("terms", type_=JSONB))
_CHANGE = text("""
UPDATE notifier.reports SET terms = :terms, revision = revision + 1, next_at = :next_at WHERE report_id = :report_id
""").bindparams(bindparam("terms", type_=JSONB))
_REMOVE = text("DELETE FROM notifier.reports WHERE report_id = :report_id")
_REMOVE_RUNS = text("DELETE FROM notifier.report_runs WHERE report_id = :report_id")
_CHANNEL = text("""
SELECT terms ->> 'kind' FROM notifier.channels WHERE tenant = :tenant AND channel_id = :channel_id
""")
_DUE = text("SELECT * FROM notifier.reports WHERE next_at <= :now ORDER BY next_at LIMIT 50 FOR UPDATE SKIP LOCKED")
_BEGIN_RUN = text("""
INSERT INTO notifier.report_runs (report_id, period_start, tenant, period_end, state, at, next_attempt_at)
VALUES (:report_id, :start, :tenant, :end, 'sending', :now, :now) ON CONFLICT DO NOTHING
""")
_NEXT = text("UPDATE notifier.reports SET next_at = :next_at WHERE report_id = :report_id")
_CLAIM_RUN = text("""
UPDATE notifier.report_runs SET next_attempt_at = :until, attempts = attempts + 1, at = :now
WHERE (report_id, period_start) = (
    SELECT report_id, period_start FROM notifier.report_runs WHERE next_attempt_at <= :now
    ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING report_id, tenant, period_start, period_end, attempts
""")
_RECORD = text("""
UPDATE notifier.report_runs SET state = :state, at = :now, detail = :detail, next_attempt_at = :next_at
WHERE report_id = :report_id AND period_start = :period_start
""")
_OUTSIDE_TERMS = {"tenant", "report_id", "expected_revision", "actor"}


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A report of one period that this process makes now."""

    report_id: str
    tenant: str
    period_start: datetime
    period_end: datetime
    attempts: int


class ReportStore:
    """The scheduled reports of all tenants. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase, people: People) -> None:
        self._database = database
        self._people = people

    async def list(self, tenant: str) -> list[ScheduledReport]:
        """Return a tenant's reports, oldest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(_LIST, {"tenant": tenant})).mappings().all()
        return [_report_of(row) for row in rows]

    async def get(self, tenant: str, report_id: str) -> ScheduledReport:
        """Return one report. Raises NotifierRefusal."""
        async with self._database.read() as connection:
            return await _get(connection, tenant, report_id)

    async def save(self, command: SaveReport, now: datetime) -> ScheduledReport:
        """Add or replace a report. Raises NotifierRefusal. Guard: a lock of the tenant's reports."""
        async with self._database.change() as change:
            connection = change.connection
            await connection.execute(_LOCK, {"tenant": command.tenant})
            await _check_channel(connection, command)
            terms = command.model_dump(mode="json", exclude=_OUTSIDE_TERMS, exclude_none=True)
            next_at = next_due(command, self._people.time_zone(command.tenant), now) if command.enabled else None
            if command.report_id is None:
                report_id, before = ids.new(ids.REPORT), None
                if len((await connection.execute(_LIST, {"tenant": command.tenant})).all()) >= MAX_REPORTS:
                    raise NotifierRefusal(
                        f"nothing was saved: {command.tenant} has {MAX_REPORTS} reports, the most there may be"
                    )
                values = {"tenant": command.tenant, "terms": terms, "now": now, "next_at": next_at}
                await connection.execute(_ADD, values | {"report_id": report_id})
            else:
                report_id = command.report_id
                before = await _get(connection, command.tenant, report_id)
                if command.expected_revision not in (None, before.revision):
                    raise changed_meanwhile(before.revision)
                await connection.execute(_CHANGE, {"report_id": report_id, "terms": terms, "next_at": next_at})
            saved = await _get(connection, command.tenant, report_id)
            await change.audit(
                actor=command.actor,
                action="report.add" if before is None else "report.change",
                tenant=command.tenant,
                target=report_id,
                details=describe_changes({} if before is None else _audited(before), _audited(saved)),
            )
            return saved

    async def remove(self, tenant: str, report_id: str, actor: str) -> ScheduledReport:
        """Remove a report. Raises NotifierRefusal."""
        async with self._database.change() as change:
            await change.connection.execute(_LOCK, {"tenant": tenant})
            report = await _get(change.connection, tenant, report_id)
            await change.connection.execute(_REMOVE, {"report_id": report_id})
            await change.connection.execute(_REMOVE_RUNS, {"report_id": report_id})
            await change.audit(
                actor=actor, action="report.remove", tenant=tenant, target=report_id, details={"name": report.name}
            )
            return report

    async def begin_due(self, now: datetime) -> None:
        """Begin a run of each report that is due, once for each period, and set when it is due next."""
        async with self._database.change() as change:
            for row in (await change.connection.execute(_DUE, {"now": now})).mappings().all():
                zone = self._people.time_zone(row["tenant"])
                terms = ReportTerms.model_validate(row["terms"] | {"tenant": row["tenant"]})
                period = period_before(terms, zone, row["next_at"])
                key = {"report_id": row["report_id"], "tenant": row["tenant"]}
                run = {"start": period.start, "end": period.end, "now": now}
                await change.connection.execute(_BEGIN_RUN, key | run)
                await change.connection.execute(_NEXT, key | {"next_at": next_due(terms, zone, row["next_at"])})

    async def claim_run(self, now: datetime) -> ClaimedRun | None:
        """Claim a run that is to be sent now; None if there is none."""
        async with self._database.change() as change:
            row = (await change.connection.execute(_CLAIM_RUN, {"now": now, "until": now + CLAIM})).one_or_none()
        return None if row is None else ClaimedRun(*row)

    async def record(
        self,
        run: ClaimedRun,
        state: ReportRunState,
        detail: str | None,
        now: datetime,
        *,
        again_at: datetime | None = None,
    ) -> None:
        """Record how far a run is, and when it is tried again if it is."""
        values = {"state": state.value, "detail": detail, "now": now, "next_at": again_at}
        async with self._database.change() as change:
            key = {"report_id": run.report_id, "period_start": run.period_start}
            await change.connection.execute(_RECORD, key | values)


async def _get(connection: AsyncConnection, tenant: str, report_id: str) -> ScheduledReport:
    row = (await connection.execute(_GET, {"tenant": tenant, "report_id": report_id})).mappings().one_or_none()
    if row is None:
        raise unknown(tenant, "report", report_id)
    return _report_of(row)


async def _check_channel(connection: AsyncConnection, command: SaveReport) -> None:
    kind = await connection.scalar(_CHANNEL, {"tenant": command.tenant, "channel_id": command.channel_id})
    if kind is None:
        raise unknown(command.tenant, "channel", command.channel_id)
    if kind != "email":
        raise NotifierRefusal("nothing was saved: a report is sent by an e-mail channel, and this one is none")


def _report_of(row: Mapping[Any, Any]) -> ScheduledReport:
    run = None
    if row["period_start"] is not None:
        run = ReportRun.model_validate({name: row[name] for name in ReportRun.model_fields})
    names = ("report_id", "tenant", "revision", "created_at", "next_at")
    return ScheduledReport.model_validate(row["terms"] | {name: row[name] for name in names} | {"last_run": run})


def _audited(report: ScheduledReport) -> dict[str, object]:
    return report.model_dump(mode="json", include=set(ReportTerms.model_fields) - {"tenant"}, exclude_none=True)
