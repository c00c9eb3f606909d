"""Reading attempts for comparisons with a provider, and for reporting them again."""

from datetime import UTC, datetime, time, timedelta

from sqlalchemy import ColumnElement, Select, select

from keyferry.contracts.reconciliation import ListUsageAttempts, ProviderDay, SumProviderDay
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.usage import KeySource, LedgerRow
from keyferry.runtime.tenant_scope import tenant_scope
from services.usage_ledger.attempt_packing import whole_row
from services.usage_ledger.corrections import WITH_CORRECTIONS, as_recorded, current_column
from services.usage_ledger.database import TOKEN_KINDS, TransactionalStore, attempts
from services.usage_ledger.provider_days.adding import DaySums
from services.usage_ledger.store import ledger_row

_AT_ONCE = 2000
_PLAIN = ("model", "model_served", "outcome", "started_at", "latency_ms", "usage_source", "tenant")
_PACKED = ("packed", "decision_uuid", "trace_uuid", "decision_id")


class ProviderDayStore(TransactionalStore):
    """Queries over attempts. Every method raises DatabaseUnavailable."""

    async def sum_day(self, command: SumProviderDay) -> ProviderDay:
        """Add up a day of a tenant's attempts with its own keys, or of everybody's with the platform's."""
        sums = DaySums()
        # The platform's keys are used by attempts of all tenants, of which the scope of `platform` shows none.
        with tenant_scope(None if command.tenant == PLATFORM_TENANT else command.tenant):
            async with self.transaction() as connection:
                found = await connection.stream(_day_query(command), execution_options={"yield_per": _AT_ONCE})
                async for row in found.mappings():
                    sums.add(whole_row(row))
        return ProviderDay(day=command.day, rows=sums.rows())

    async def list_attempts(self, command: ListUsageAttempts) -> list[LedgerRow]:
        """Return a page of a tenant's attempts in the order of their ids."""
        columns = attempts.c
        query = (
            select(*(current_column(column.name).label(column.name) for column in columns), *as_recorded())
            .select_from(WITH_CORRECTIONS)
            .where(columns.tenant == command.tenant)
            .where(columns.started_at >= command.since, columns.started_at < command.until)
            .order_by(columns.attempt_id)
            .limit(command.limit)
        )
        if command.after is not None:
            query = query.where(columns.attempt_id > command.after)
        async with self.transaction() as connection:
            return [ledger_row(row) for row in (await connection.execute(query)).mappings()]


def _day_query(command: SumProviderDay) -> Select[tuple[object, ...]]:
    columns = attempts.c
    begin = datetime.combine(command.day, time(), UTC)
    query = (
        select(
            *(columns[name] for name in (*_PLAIN, *_PACKED)),
            *(columns[f"{kind}_tokens"] for kind in TOKEN_KINDS),
            *(current_column(name).label(name) for name in ("cost_usd", "price_version", "pricing")),
            columns.failure["where"].astext.label("failed_where"),
        )
        .select_from(WITH_CORRECTIONS)
        .where(columns.provider == command.provider, columns.endpoint.is_(None), _whose(command))
        .where(columns.started_at >= begin, columns.started_at < begin + timedelta(days=1))
    )
    return query if command.key_id is None else query.where(columns.key_id == command.key_id)


def _whose(command: SumProviderDay) -> ColumnElement[bool]:
    if command.tenant == PLATFORM_TENANT:
        return attempts.c.key_source == KeySource.PLATFORM.value
    return (attempts.c.tenant == command.tenant) & (attempts.c.key_source == KeySource.BYOK.value)
