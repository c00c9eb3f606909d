"""Runs one comparison: what the provider says, what the ledger has, and the report that is stored."""

import logging
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from keyferry.contracts import ids
from keyferry.contracts.alert_events import ReportAlert
from keyferry.contracts.alert_management import ALERT_REPORT
from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.money import plain
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.reconciliation import (
    ADMIN_KEY_KINDS,
    RECONCILIATION,
    ProviderDay,
    Reconciliation,
    RunReconciliation,
    StatedBy,
    SumProviderDay,
)
from keyferry.contracts.reconciliation_management import USAGE_SUM_PROVIDER_DAY
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.integration_secrets import IntegrationSecrets, NoSuchSecret
from services.billing.provider_usage.comparison import compare, is_over, unsettled_days
from services.billing.provider_usage.csv_usage import UnreadableCsv, read_csv
from services.billing.provider_usage.fetcher import USAGE_APIS, CannotFetch, UsageFetcher
from services.billing.provider_usage.months import days_between
from services.billing.provider_usage.stated_usage import StatedUsage
from services.billing.provider_usage.store import ReconciliationStore
from services.billing.provider_usage.usage_api import UsageSpan

_log = logging.getLogger(__name__)

_DAY_SECONDS: Final = 20.0
_ALERT_SECONDS: Final = 5.0
USUAL_TOLERANCE_USD: Final = Decimal(1)
USUAL_TOLERANCE_PERCENT: Final = 2


class Reconciler:
    """Runs comparisons. `clock` returns the time with a zone."""

    def __init__(
        self,
        bus: Bus,
        store: ReconciliationStore,
        fetcher: UsageFetcher,
        secrets: IntegrationSecrets,
        clock: Callable[[], datetime],
    ) -> None:
        self._bus = bus
        self._store = store
        self._fetcher = fetcher
        self._secrets = secrets
        self._clock = clock

    async def run(self, command: RunReconciliation) -> Reconciliation:
        """Compare, store the report and return it. Raises Refused, BusError while the ledger is away, DatabaseUnavailable."""
        if command.provider not in PROVIDERS:
            raise Refused(ErrorCode.INVALID, "there is no such provider: `keyferry providers list` lists them")
        now = self._clock()
        if command.until > now.date():
            raise Refused(ErrorCode.INVALID, "`until` is in the future: days are in UTC")
        stated_by, stated = await self._read_stated(command, now)
        days = [await self._sum_day(command, day) for day in days_between(command.since, command.until)]
        unsettled = unsettled_days((day.day for day in days), _settled_before(command.provider, stated_by, now))
        found = compare(stated, days, unsettled)
        schedule = await self._store.get_schedule(command.tenant, command.provider)
        tolerance_usd, percent = (
            (USUAL_TOLERANCE_USD, USUAL_TOLERANCE_PERCENT)
            if schedule is None
            else (schedule.tolerance_usd, schedule.tolerance_percent)
        )
        report = Reconciliation(
            reconciliation_id=ids.new(RECONCILIATION),
            tenant=command.tenant,
            provider=command.provider,
            stated_by=stated_by,
            since=command.since,
            until=command.until,
            key_id=command.key_id,
            provider_key=command.provider_key,
            created_at=now,
            created_by=command.actor,
            days_complete=not unsettled,
            over_tolerance=is_over(found.totals, tolerance_usd, percent),
            totals=found.totals,
            rows=found.rows,
            more_rows=found.more_rows,
        )
        await self._store.add(report)
        return report

    async def report_alert(self, report: Reconciliation) -> None:
        """Raise the alert about a difference over the tolerance, or resolve it."""
        totals = report.totals
        amount = "" if totals.cost_difference_usd is None else f"{plain(totals.cost_difference_usd)} dollars"
        tokens = "" if totals.token_difference is None else f"{totals.token_difference} tokens"
        span = f"{report.since} to {report.until}"
        text = (
            f"{report.provider} reports {' and '.join(filter(None, (amount, tokens)))} more (or less, if negative) than was"
            f" recorded for {span}: `keyferry reconcile show {report.reconciliation_id} --tenant {report.tenant}` explains it."
            if report.over_tolerance
            else f"The figures of {report.provider} for {span} agree."
        )
        question = ReportAlert(
            tenant=report.tenant,
            metric=AlertMetric.RECONCILIATION_DIFFERENCE,
            subject=report.provider,
            raised=report.over_tolerance,
            text=text,
        )
        try:
            await self._bus.ask(ALERT_REPORT, question, timeout_seconds=_ALERT_SECONDS)
        except (BusError, Refused) as error:
            _log.warning("cannot report a difference", extra={"reason": str(error), "provider": report.provider})

    async def _read_stated(self, command: RunReconciliation, now: datetime) -> tuple[StatedBy, Sequence[StatedUsage]]:
        span = UsageSpan(command.since, command.until, command.provider_key)
        if command.total_usd is not None:
            return StatedBy.TOTAL, [StatedUsage(cost_usd=command.total_usd)]
        if command.csv is not None:
            try:
                return StatedBy.CSV, read_csv(command.csv, span)
            except UnreadableCsv as error:
                raise Refused(ErrorCode.INVALID, f"the CSV cannot be compared: {error}") from None
        return StatedBy.API, await self._fetch(command, span, now)

    async def _fetch(self, command: RunReconciliation, span: UsageSpan, now: datetime) -> list[StatedUsage]:
        api = USAGE_APIS.get(command.provider)
        if api is None:
            raise Refused(
                ErrorCode.INVALID,
                f"{command.provider} has no API for usage: paste a CSV or the total of its invoice; those that can be asked are"
                f" {', '.join(sorted(USAGE_APIS))}",
            )
        if api.most_days_back is not None and span.since < now.date() - timedelta(days=api.most_days_back):
            raise Refused(
                ErrorCode.INVALID,
                f"{api.provider} knows only the last {api.most_days_back} days: paste a CSV for earlier ones",
            )
        kind = IntegrationKind(ADMIN_KEY_KINDS[api.provider])
        try:
            key = (await self._secrets.get(command.tenant, kind)).current
            return await self._fetcher.fetch(api, key, span)
        except NoSuchSecret:
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"the tenant has no {kind.value}: save {api.permission} with `keyferry integrations add {kind.value}"
                f" --tenant {command.tenant}`, or paste a CSV or a total",
            ) from None
        except CannotFetch as error:
            raise Refused(ErrorCode.UNAVAILABLE, str(error)) from None

    async def _sum_day(self, command: RunReconciliation, day: date) -> ProviderDay:
        question = SumProviderDay(tenant=command.tenant, provider=command.provider, day=day, key_id=command.key_id)
        return await self._bus.ask(USAGE_SUM_PROVIDER_DAY, question, timeout_seconds=_DAY_SECONDS)


def _settled_before(provider: str, stated_by: StatedBy, now: datetime) -> date:
    """Return the first day to which the provider may still add something."""
    api = USAGE_APIS.get(provider) if stated_by is StatedBy.API else None
    return now.date() - timedelta(days=api.settle_days if api is not None else 0)
