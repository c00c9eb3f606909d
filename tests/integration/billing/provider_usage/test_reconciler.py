"""Comparisons as they are run, stored and repeated each month."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Any, cast

import pytest

from keyferry.contracts.alert_events import AlertReported, ReportAlert
from keyferry.contracts.channels import Subject
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.reconciliation import (
    DifferenceReason,
    GetReconciliation,
    ListReconciliations,
    ProviderDay,
    ProviderDayRow,
    RemoveReconciliationSchedule,
    RunReconciliation,
    SaveReconciliationSchedule,
    StatedBy,
    SumProviderDay,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.usage import TokenUsage, UsageSource
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import IntegrationSecrets, NoSuchSecret, SecretVersions
from keyferry.runtime.upstream.client import UpstreamClient
from services.billing.provider_usage.fetcher import UsageFetcher
from services.billing.provider_usage.handlers import ReconciliationHandlers
from services.billing.provider_usage.monthly import MonthlyReconciliation
from services.billing.provider_usage.reconciler import Reconciler
from services.billing.provider_usage.store import ReconciliationStore
from tests.support.billing.provider_usage_double import ProvidedUsage, running_provider_usage

NOW = datetime(2026, 12, 3, 6, 0, 30, tzinfo=UTC)
DAY = date(2026, 11, 2)


class Ledger:
    """Answers the requests of comparisons as the ledger would, and keeps the alerts that are reported."""

    def __init__(self) -> None:
        self.rows: dict[date, list[ProviderDayRow]] = {}
        self.asked: list[SumProviderDay] = []
        self.alerts: list[ReportAlert] = []
        self.away = False

    async def ask(self, _subject: Subject[Any, Any], question: Any, *, timeout_seconds: float) -> Any:
        assert timeout_seconds > 0
        if self.away:
            raise BusError("nobody answers")
        if isinstance(question, ReportAlert):
            self.alerts.append(question)
            return AlertReported(changed=True)
        self.asked.append(question)
        return ProviderDay(day=question.day, rows=self.rows.get(question.day, []))


class Secrets:
    """Has admin keys of some tenants."""

    def __init__(self, keys: dict[tuple[str, IntegrationKind], str]) -> None:
        self.keys = keys

    async def get(self, tenant: str, kind: IntegrationKind) -> SecretVersions:
        if (tenant, kind) not in self.keys:
            raise NoSuchSecret("there is none")
        return SecretVersions("isec_1", 1, Secret(self.keys[tenant, kind]))


class Reconciliations:
    """All parts of one process, with doubles of the ledger, the vault and the providers."""

    def __init__(self, database: ServiceDatabase, fetcher: UsageFetcher, admin_key: str) -> None:
        self.now = NOW
        self.ledger, self.secrets = Ledger(), Secrets({("asked", IntegrationKind.OPENAI_ADMIN_KEY): admin_key})
        self.store = ReconciliationStore(database)
        bus, secrets = cast(Bus, self.ledger), cast(IntegrationSecrets, self.secrets)
        self.reconciler = Reconciler(bus, self.store, fetcher, secrets, lambda: self.now)
        self.handlers = ReconciliationHandlers(self.store, self.reconciler, lambda: self.now)
        self.monthly = MonthlyReconciliation(self.store, self.reconciler, lambda: self.now)


@pytest.fixture
async def parts(billing_database: ServiceDatabase) -> AsyncIterator[Reconciliations]:
    usage = [ProvidedUsage(DAY, "gpt-4o-2024-08-06", 1000, 200, Decimal("0.5"))]
    client = UpstreamClient((ip_network("127.0.0.0/8"),))
    async with running_provider_usage(usage=usage) as double:
        found = Reconciliations(billing_database, UsageFetcher(client, double.base_urls), double.admin_key)
        found.ledger.rows[DAY] = [
            ProviderDayRow(
                model="gpt-4o",
                usage_source=UsageSource.REPORTED,
                price_version="v1",
                attempts=3,
                token_usage=TokenUsage(input=1000, output=200),
                cost_usd=Decimal("0.25"),
            )
        ]
        yield found
    await client.close()


def month(tenant: str, **changes: Any) -> RunReconciliation:
    fields = {"tenant": tenant, "provider": "openai", "since": date(2026, 11, 1), "until": date(2026, 11, 30)}
    return RunReconciliation(**(fields | changes))


async def test_a_provider_is_asked_and_the_report_is_kept(parts: Reconciliations) -> None:
    report = await parts.handlers.run(month("asked", key_id="key_one"))
    assert (report.stated_by, report.days_complete, report.totals.attempts) == (StatedBy.API, True, 3)
    assert report.totals.cost_difference_usd == Decimal("0.25")
    assert {each.reason for each in report.rows[0].explanations} == {
        DifferenceReason.OTHER_NAME,
        DifferenceReason.PRICE,
    }
    assert [(each.day, each.key_id) for each in parts.ledger.asked][:1] == [(date(2026, 11, 1), "key_one")]
    assert len(parts.ledger.asked) == 30
    again = await parts.handlers.get(GetReconciliation(tenant="asked", reconciliation_id=report.reconciliation_id))
    assert again == report
    (listed,) = (await parts.handlers.list_reports(ListReconciliations(tenant="asked"))).reconciliations
    assert listed == report.model_copy(update={"rows": []})
    with pytest.raises(Refused) as caught:
        await parts.handlers.get(GetReconciliation(tenant="other", reconciliation_id=report.reconciliation_id))
    assert caught.value.refusal.code is ErrorCode.NOT_FOUND


async def test_figures_that_are_pasted_need_no_key(parts: Reconciliations) -> None:
    csv = "date,model,input_tokens,output_tokens,cost\n2026-11-02,gpt-4o,1000,200,0.25\n"
    report = await parts.handlers.run(month("paster", csv=csv))
    assert (report.stated_by, report.totals.cost_difference_usd, report.over_tolerance) == (
        StatedBy.CSV,
        Decimal(0),
        False,
    )
    report = await parts.handlers.run(month("paster", total_usd=Decimal(9)))
    assert (report.stated_by, report.over_tolerance) == (StatedBy.TOTAL, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "the tenant has no openai_admin_key"),
        ({"provider": "mistral"}, "mistral has no API for usage"),
        ({"provider": "nobody"}, "there is no such provider"),
        ({"provider": "openrouter"}, "knows only the last 30 days"),
        ({"csv": "date,cost\nyesterday,1\n"}, "line 2: the day is not written as"),
        ({"until": date(2026, 12, 9)}, "is in the future"),
    ],
)
async def test_what_cannot_be_compared_is_explained(
    parts: Reconciliations, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        await parts.handlers.run(month("nobody", **changes))
    assert not (await parts.handlers.list_reports(ListReconciliations(tenant="nobody"))).reconciliations


async def test_an_outage_of_the_ledger_is_refused_as_one(parts: Reconciliations) -> None:
    parts.ledger.away = True
    with pytest.raises(Refused) as caught:
        await parts.handlers.run(month("paster", total_usd=Decimal(1)))
    assert caught.value.refusal.code is ErrorCode.UNAVAILABLE


async def test_each_month_is_compared_once_and_a_difference_raises_an_alert(parts: Reconciliations) -> None:
    parts.now = NOW - timedelta(days=10)
    command = SaveReconciliationSchedule(tenant="asked", provider="openai", tolerance_usd=Decimal("0.1"))
    saved = await parts.handlers.save_schedule(command)
    assert saved.next_run_at == datetime(2026, 12, 3, 6, tzinfo=UTC)
    assert not await parts.monthly.run_next()
    parts.now = NOW
    assert await parts.monthly.run_next()
    assert not await parts.monthly.run_next()
    (alert,) = parts.ledger.alerts
    assert (alert.tenant, alert.subject, alert.raised) == ("asked", "openai", True)
    (schedule,) = await parts.store.list_schedules("asked")
    assert (schedule.next_run_at, schedule.last_error) == (datetime(2027, 1, 3, 6, tzinfo=UTC), None)
    assert schedule.last_reconciliation_id is not None
    report = await parts.store.get("asked", schedule.last_reconciliation_id)
    assert report is not None
    assert (report.since, report.until, report.created_by) == (date(2026, 11, 1), date(2026, 11, 30), "billing")
    await parts.handlers.remove_schedule(RemoveReconciliationSchedule(tenant="asked", provider="openai"))


async def test_a_run_that_fails_is_tried_again_every_hour(parts: Reconciliations) -> None:
    parts.now = NOW - timedelta(days=10)
    await parts.handlers.save_schedule(SaveReconciliationSchedule(tenant="keyless", provider="openai"))
    parts.now = NOW
    assert await parts.monthly.run_next()
    (schedule,) = await parts.store.list_schedules("keyless")
    assert schedule.next_run_at == NOW + timedelta(hours=1)
    assert "openai_admin_key" in (schedule.last_error or "")
    await parts.handlers.remove_schedule(RemoveReconciliationSchedule(tenant="keyless", provider="openai"))
    with pytest.raises(Refused):
        await parts.handlers.remove_schedule(RemoveReconciliationSchedule(tenant="keyless", provider="openai"))


async def test_a_schedule_needs_a_provider_that_can_be_asked(parts: Reconciliations) -> None:
    for provider in ("mistral", "nobody"):
        with pytest.raises(Refused):
            await parts.handlers.save_schedule(SaveReconciliationSchedule(tenant="t", provider=provider))
