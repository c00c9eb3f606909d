"""Sums over the table of attempts: a tenant's usage, and the spending of provider keys."""

from sqlalchemy import RowMapping, Select, case, func, select, text

from keyferry.contracts.money import bounded
from keyferry.contracts.usage import Outcome, SummarizeUsage, UsageRow, UsageSummary
from services.usage_ledger.corrections import WITH_CORRECTIONS, current_column
from services.usage_ledger.database import TOKEN_KINDS, TransactionalStore, attempts, token_usage_of

_MAX_SUMMARY_ROWS = 10_000


class SummaryTooLong(Exception):
    """A summary has more rows than fit into a message."""


class UsageStore(TransactionalStore):
    """Queries over attempts. Every method raises DatabaseUnavailable."""

    async def summarize(self, command: SummarizeUsage) -> UsageSummary:
        """Sum a tenant's usage by provider and model, most expensive first. Raises SummaryTooLong."""
        async with self.transaction() as connection:
            found = (await connection.execute(_summary(command))).mappings().all()
        if len(found) > _MAX_SUMMARY_ROWS:
            raise SummaryTooLong
        total = next(row for row in found if row["is_total"])
        return UsageSummary(
            tenant=command.tenant,
            requests=total["requests"],
            attempts=total["attempts"],
            priced_cost_usd=bounded(total["priced_cost_usd"]),
            unpriced=total["unpriced"],
            rows=[_usage_row(row) for row in found if not row["is_total"]],
        )


def _summary(command: SummarizeUsage) -> Select[tuple[object, ...]]:
    """Select one row per provider, server and model and one total row, from one snapshot."""
    columns = attempts.c
    counts = (func.count().filter(columns.outcome == outcome.value).label(outcome.value) for outcome in Outcome)
    sums = (func.coalesce(func.sum(columns[f"{kind}_tokens"]), 0).label(f"{kind}_tokens") for kind in TOKEN_KINDS)
    # SQL's sum ignores unknown costs and is null if all are unknown; the sum over no attempts at all is known.
    cost = case((func.count() == 0, 0), else_=func.sum(current_column("cost_usd"))).label("priced_cost_usd")
    query = select(
        columns.provider,
        columns.endpoint,
        columns.model,
        (func.grouping(columns.provider, columns.endpoint, columns.model) != 0).label("is_total"),
        func.count(columns.request_id.distinct()).label("requests"),
        func.count().label("attempts"),
        *counts,
        *sums,
        cost,
        func.count().filter(current_column("pricing") == "unpriced").label("unpriced"),
    )
    query = query.select_from(WITH_CORRECTIONS).where(columns.tenant == command.tenant)
    if command.since is not None:
        query = query.where(columns.started_at >= command.since)
    if command.until is not None:
        query = query.where(columns.started_at < command.until)
    grouped = query.group_by(text("GROUPING SETS ((provider, endpoint, model), ())"))
    return grouped.order_by(cost.desc().nulls_last(), columns.provider, columns.endpoint, columns.model).limit(
        _MAX_SUMMARY_ROWS + 2
    )


def _usage_row(row: RowMapping) -> UsageRow:
    return UsageRow(
        provider=row["provider"],
        endpoint=row["endpoint"],
        model=row["model"],
        attempts=row["attempts"],
        completed=row["completed"],
        failed=row["failed"],
        cancelled=row["cancelled"],
        indeterminate=row["indeterminate"],
        token_usage=token_usage_of(row),
        priced_cost_usd=bounded(row["priced_cost_usd"]),
        unpriced=row["unpriced"],
    )
