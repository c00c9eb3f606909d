"""Statements of months, each computed from one snapshot of the ledger whenever somebody asks for it."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.statements import (
    MAX_STATEMENTS,
    GetStatement,
    Statement,
    StatementPeriod,
    Statements,
    StatementState,
    StatementSummary,
)
from keyferry.contracts.tenancy import Tenant
from services.usage_ledger.accounts.transfer import UNCOLLECTED
from services.usage_ledger.analytics.figures import Sums, figures_of
from services.usage_ledger.analytics.periods import QuarterSpan, are_days_of_utc
from services.usage_ledger.analytics.query_sql import RollupSelection, source_of
from services.usage_ledger.analytics.snapshot import RollupSnapshot, read_snapshot
from services.usage_ledger.statements import sql
from services.usage_ledger.statements.account_reader import read_account, read_posted
from services.usage_ledger.statements.account_sums import CHARGES, PostedSums
from services.usage_ledger.statements.month_store import StatementMonthStore
from services.usage_ledger.statements.months import BilledMonth
from services.usage_ledger.statements.reconciliation import CountedAmount, ReconciledAttempts, reconcile
from services.usage_ledger.statements.usage_reader import MonthUsage

_VARIES = {"as_of", "complete_until", "state", "fingerprint", "tenant_name"}
"""What a statement has that the ledger's records do not say."""


class NoSuchMonth(Exception):
    """A tenant has no statement for that month; the message says which there are."""


class StatementReports:
    """The statements of tenants. Methods raise DatabaseUnavailable and QueryTooLong."""

    def __init__(
        self,
        months: StatementMonthStore,
        readers: AsyncEngine,
        clock: Callable[[], datetime],
        complete_until: Callable[[], datetime | None],
    ) -> None:
        self._months = months
        self._readers = readers
        self._clock = clock
        self._complete_until = complete_until

    async def get(self, tenant: Tenant, command: GetStatement) -> Statement:
        """Return the statement of one month. Raises NoSuchMonth."""
        # What is complete before the snapshot is taken is so in it.
        complete, now = self._complete_until(), self._clock().astimezone(UTC)
        months = await self._months.list_months(tenant.tenant, tenant.time_zone, now)
        month = next((each for each in months if each.name == command.month), None)
        if month is None:
            raise NoSuchMonth(_explain(command.month, months))
        async with read_snapshot(self._readers) as snapshot:
            account, posted = await read_account(snapshot, tenant.tenant, month.span.bounds, now)
            found = await _read_attempts(snapshot, tenant.tenant, month)
            usage = await MonthUsage(snapshot, tenant.tenant, month.span).read(command.tag)
        total = figures_of(usage.total)
        statement = Statement(
            **_period(month, now, complete).model_dump(),
            tenant=tenant.tenant,
            tenant_name=tenant.name,
            as_of=now,
            complete_until=complete,
            account=account,
            total=total,
            own_keys=figures_of(usage.own),
            platform_keys=figures_of(usage.platform),
            by=list(usage.by),
            tag=command.tag,
            lines=usage.lines,
            lines_left_out=usage.lines_left_out,
            rest=figures_of(usage.rest) if usage.rest["attempts"] or usage.rest["requests"] else None,
            breakdowns=usage.breakdowns,
            reconciliation=reconcile(total.charge_micro_usd, posted, found),
            fingerprint="",
        )
        return statement.model_copy(update={"fingerprint": fingerprint_of(statement)})

    async def list_months(self, tenant: Tenant) -> Statements:
        """Return the months of a tenant, newest first."""
        complete, now = self._complete_until(), self._clock().astimezone(UTC)
        months = (await self._months.list_months(tenant.tenant, tenant.time_zone, now))[-MAX_STATEMENTS:]
        if not months:
            return Statements(tenant=tenant.tenant, as_of=now, statements=[])
        spans = [month.span for month in months]
        async with read_snapshot(self._readers) as snapshot:
            bounds = [*(span.bounds[0] for span in spans), spans[-1].bounds[1]]
            before, *posted, _ = await read_posted(snapshot, tenant.tenant, bounds, now)
            used = await _read_usage(snapshot, tenant.tenant, spans)
        summaries: list[StatementSummary] = []
        opening = before.total()
        for month, sums, usage in zip(months, posted, used, strict=True):
            summaries.append(_summary(_period(month, now, complete), opening, sums, usage))
            opening += sums.total()
        return Statements(tenant=tenant.tenant, as_of=now, statements=summaries[::-1])


def fingerprint_of(statement: Statement) -> str:
    """Return a digest of what the ledger says in a statement, in hexadecimal."""
    return hashlib.sha256(statement.model_dump_json(exclude=_VARIES).encode()).hexdigest()


def _summary(period: StatementPeriod, opening: int, sums: PostedSums, usage: Sums) -> StatementSummary:
    return StatementSummary(
        **period.model_dump(),
        opening_micro_usd=opening,
        closing_micro_usd=opening + sums.total(),
        credited_micro_usd=sums.total() - sums.total(CHARGES),
        posted_micro_usd=-sums.total(CHARGES),
        usage=figures_of(usage),
    )


def _period(month: BilledMonth, now: datetime, complete: datetime | None) -> StatementPeriod:
    since, until = month.span.bounds
    state = StatementState.SETTLING
    if until > now:
        state = StatementState.OPEN
    elif complete is not None and complete >= until:
        state = StatementState.CLOSED
    return StatementPeriod(month=month.name, tz=month.tz, since=since, until=until, state=state)


def _explain(name: str, months: list[BilledMonth]) -> str:
    if not months:
        return "there is no statement yet: the first month is that of the first credits or of the first request"
    return f"there is no statement for {name}: there is one for each month from {months[0].name} to {months[-1].name}"


async def _read_usage(snapshot: RollupSnapshot, tenant: str, spans: list[QuarterSpan]) -> list[Sums]:
    whole = QuarterSpan(spans[0].since, spans[-1].until)
    source = source_of(RollupSelection(tenant, {}, {}), whole, whole_days=are_days_of_utc(spans))
    found = await snapshot.series(source, None, (), [span.since for span in spans])
    return [found.get(("", position), Sums()) for position in range(len(spans))]


async def _read_attempts(snapshot: RollupSnapshot, tenant: str, month: BilledMonth) -> ReconciledAttempts:
    span = {"tenant": tenant, **dict(zip(("since", "until"), month.span.bounds, strict=True))}
    (begun,) = await snapshot.rows(sql.BEGUN, span)
    (before,) = await snapshot.rows(sql.BEGUN_BEFORE, span)
    # The accounts of these transfers are the platform's; the attempts that they name are the tenant's.
    uncollected = {**span, "source": UNCOLLECTED}
    (lost,) = await snapshot.rows_by_index(sql.UNCOLLECTED_CHARGES, uncollected, of_all=True)
    return ReconciledAttempts(
        recorded_elsewhere=CountedAmount(int(begun["other_attempts"]), int(begun["other_amount"])),
        begun_elsewhere=CountedAmount(int(before["attempts"]), int(before["amount"])),
        rerated=CountedAmount(int(begun["rerated_attempts"]), int(begun["rerated_amount"])),
        uncollected=CountedAmount(int(lost["attempts"]), int(lost["amount"])),
    )
