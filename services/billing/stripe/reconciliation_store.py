"""The reports of the daily comparison in PostgreSQL."""

from datetime import date

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from keyferry.contracts.stripe_events import StripeReconciliation
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.stripe.tables import stripe_reconciliations

_C = stripe_reconciliations.c


class StripeReportStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def save(self, report: StripeReconciliation, actor: str) -> None:
        """Store the report of a day in place of an earlier one, with an audit event."""
        values = {"report": report.model_dump(mode="json")}
        statement = insert(stripe_reconciliations).values(day=report.day, **values)
        async with self._database.change() as change:
            await change.connection.execute(statement.on_conflict_do_update(index_elements=["day"], set_=values))
            await change.audit(
                actor=actor,
                action="stripe_reconciliation.run",
                tenant=PLATFORM_TENANT,
                target=report.day.isoformat(),
                details={
                    "complete": str(report.complete).lower(),
                    "differences": str(len(report.differences) + report.more_differences),
                },
            )

    async def list_reports(self, limit: int) -> list[StripeReconciliation]:
        """Return the newest reports."""
        query = select(_C.report).order_by(_C.day.desc()).limit(limit)
        async with self._database.read() as connection:
            return [StripeReconciliation.model_validate(row) for row in await connection.scalars(query)]

    async def is_complete(self, day: date) -> bool:
        """Return whether a day was compared to the end."""
        query = select(_C.report["complete"].as_boolean()).where(_C.day == day)
        async with self._database.read() as connection:
            return bool(await connection.scalar(query))
