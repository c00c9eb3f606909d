"""Reports and schedules of comparisons in PostgreSQL."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from keyferry.contracts.reconciliation import (
    ListReconciliations,
    Reconciliation,
    ReconciliationSchedule,
    RemoveReconciliationSchedule,
    SaveReconciliationSchedule,
)
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.provider_usage.tables import reconciliation_schedules, reconciliations

_KEY = ["tenant", "provider"]


class ReconciliationStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def add(self, report: Reconciliation) -> None:
        """Store a report with its audit event."""
        content = report.model_dump(mode="json")
        async with self._database.change() as change:
            statement = insert(reconciliations).values(
                reconciliation_id=report.reconciliation_id,
                tenant=report.tenant,
                provider=report.provider,
                head={name: value for name, value in content.items() if name != "rows"},
                rows=content["rows"],
            )
            await change.connection.execute(statement)
            await change.audit(
                actor=report.created_by,
                action="reconciliation.run",
                tenant=report.tenant,
                target=report.reconciliation_id,
                details={
                    "provider": report.provider,
                    "since": report.since.isoformat(),
                    "until": report.until.isoformat(),
                    "stated_by": report.stated_by.value,
                },
            )

    async def get(self, tenant: str, reconciliation_id: str) -> Reconciliation | None:
        """Return a report with its rows; None if the tenant has none with this id."""
        columns = reconciliations.c
        query = select(columns.head, columns.rows).where(
            columns.tenant == tenant, columns.reconciliation_id == reconciliation_id
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else Reconciliation.model_validate({**row["head"], "rows": row["rows"]})

    async def list_reports(self, command: ListReconciliations) -> list[Reconciliation]:
        """Return a page of reports without their rows, newest first."""
        columns = reconciliations.c
        query = select(columns.head).where(columns.tenant == command.tenant)
        if command.provider is not None:
            query = query.where(columns.provider == command.provider)
        if command.after is not None:
            query = query.where(columns.reconciliation_id < command.after)
        query = query.order_by(columns.reconciliation_id.desc()).limit(command.limit)
        async with self._database.read() as connection:
            return [Reconciliation.model_validate(head) for head in (await connection.execute(query)).scalars()]

    # --- schedules

    async def save_schedule(self, command: SaveReconciliationSchedule, next_run_at: datetime) -> ReconciliationSchedule:
        """Add or replace a schedule with its audit event."""
        values: dict[str, Any] = {
            "enabled": command.enabled,
            "day_of_month": command.day_of_month,
            "tolerance_usd": command.tolerance_usd,
            "tolerance_percent": command.tolerance_percent,
            "next_run_at": next_run_at if command.enabled else None,
            "last_error": None,
        }
        statement = upsert(reconciliation_schedules).values(tenant=command.tenant, provider=command.provider, **values)
        statement = statement.on_conflict_do_update(index_elements=_KEY, set_=values)
        async with self._database.change() as change:
            done = await change.connection.execute(statement.returning(reconciliation_schedules))
            saved = _schedule(done.mappings().one())
            await change.audit(
                actor=command.actor,
                action="reconciliation.schedule",
                tenant=command.tenant,
                target=command.provider,
                details={
                    "enabled": str(command.enabled).lower(),
                    "day_of_month": str(command.day_of_month),
                    "tolerance": f"{command.tolerance_usd} dollars and {command.tolerance_percent} percent",
                },
            )
        return saved

    async def remove_schedule(self, command: RemoveReconciliationSchedule) -> ReconciliationSchedule | None:
        """Remove a schedule with its audit event, and return it; None if there is none."""
        columns = reconciliation_schedules.c
        statement = delete(reconciliation_schedules).where(
            columns.tenant == command.tenant, columns.provider == command.provider
        )
        async with self._database.change() as change:
            done = await change.connection.execute(statement.returning(reconciliation_schedules))
            row = done.mappings().one_or_none()
            if row is None:
                return None
            await change.audit(
                actor=command.actor,
                action="reconciliation.unschedule",
                tenant=command.tenant,
                target=command.provider,
                details={},
            )
        return _schedule(row)

    async def list_schedules(self, tenant: str) -> list[ReconciliationSchedule]:
        """Return a tenant's schedules by provider."""
        query = select(reconciliation_schedules).where(reconciliation_schedules.c.tenant == tenant)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(reconciliation_schedules.c.provider))).mappings()
            return [_schedule(row) for row in rows]

    async def get_schedule(self, tenant: str, provider: str) -> ReconciliationSchedule | None:
        """Return the schedule for a provider; None if there is none."""
        return next((each for each in await self.list_schedules(tenant) if each.provider == provider), None)

    async def claim_due(self, now: datetime, try_again_at: datetime) -> ReconciliationSchedule | None:
        """Take a schedule that is due, and return it as it was; until it is finished it is tried again at that time."""
        columns = reconciliation_schedules.c
        due = (
            select(reconciliation_schedules)
            .where(columns.enabled, columns.next_run_at <= now)
            .order_by(columns.next_run_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        async with self._database.change() as change:
            row = (await change.connection.execute(due)).mappings().one_or_none()
            if row is None:
                return None
            which = (columns.tenant == row["tenant"]) & (columns.provider == row["provider"])
            await change.connection.execute(
                update(reconciliation_schedules).where(which).values(next_run_at=try_again_at)
            )
        return _schedule(row)

    async def finish_run(
        self,
        schedule: ReconciliationSchedule,
        *,
        next_run_at: datetime,
        ran_at: datetime,
        reconciliation_id: str | None,
        error: str | None,
    ) -> None:
        """Store how a run ended, unless the schedule was changed or removed meanwhile."""
        columns = reconciliation_schedules.c
        values: dict[str, Any] = {"next_run_at": next_run_at, "last_run_at": ran_at, "last_error": error}
        if reconciliation_id is not None:
            values["last_reconciliation_id"] = reconciliation_id
        which = (columns.tenant == schedule.tenant) & (columns.provider == schedule.provider)
        same = (columns.day_of_month == schedule.day_of_month) & columns.enabled
        async with self._database.change() as change:
            await change.connection.execute(update(reconciliation_schedules).where(which & same).values(**values))


def _schedule(row: Mapping[Any, Any]) -> ReconciliationSchedule:
    moments = {name: row[name].astimezone(UTC) for name in ("next_run_at", "last_run_at") if row[name] is not None}
    return ReconciliationSchedule.model_validate(dict(row) | moments)
