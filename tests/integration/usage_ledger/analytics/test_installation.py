"""Figures about all tenants, against what is computed from the attempts and the audit log themselves."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import exp, log

import pytest

from keyferry.contracts.audit import AuditEvent, AuditOutcome
from keyferry.contracts.operator_analytics import AnalyzeInstallation
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource, LedgerRow, Outcome
from services.usage_ledger.analytics.installation import InstallationReports
from services.usage_ledger.audit_store import AuditStore
from tests.integration.usage_ledger.analytics.conftest import NOW, AnalyticsLedger, ledger_row
from tests.support.ledger.attempt_records import attempt_record

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
OWN = (KeySource.BYOK, KeySource.CUSTOM)


def rows_of_november(seed: int) -> list[LedgerRow]:
    chance = random.Random(seed)
    rows = []
    for number in range(90):
        source = chance.choice(list(KeySource))
        outcome = chance.choice(list(Outcome))
        record = attempt_record(
            tenant=chance.choice(("t1", "t2", "t3")),
            request_id=f"req_{number}",
            started_at=SINCE + timedelta(days=2, minutes=chance.randrange(20_000)),
            provider=chance.choice(("openai", "openrouter")),
            model=chance.choice(("a", "a", "a", "b", "c")),
            tier=chance.choice((Tier.FREE, Tier.STARTER, None)),
            key_source=source,
            outcome=outcome,
        )
        charge = chance.randrange(10**6) if source is KeySource.PLATFORM else None
        rows.append(ledger_row(record, f"0.{chance.randrange(10**6):06}", charge_micro_usd=charge))
    return rows


def event(number: int, tenant: str, action: str, at: datetime, outcome: AuditOutcome = AuditOutcome.DONE) -> AuditEvent:
    return AuditEvent(
        event_id=f"evt_{number}",
        service="test",
        tenant=tenant,
        actor="operator",
        action=action,
        target=tenant,
        outcome=outcome,
        at=at,
        sequence=number,
    )


async def test_the_figures_are_those_of_the_attempts(ledger: AnalyticsLedger) -> None:
    rows = rows_of_november(seed=5)
    await ledger.record(rows)
    found = await InstallationReports(ledger.reports, ledger.estimates).analyze(AnalyzeInstallation(period="2026-11"))
    records = [row.record for row in rows]
    by_source = Counter(record.key_source for record in records)
    assert {each.key_source: each.requests for each in found.key_sources} == by_source
    assert (found.tenants, found.requests) == (3, len(rows))
    assert sum(each.requests_permille or 0 for each in found.key_sources) in range(996, 1005)
    for each in found.tiers:
        mine = [record for record in records if record.tier is each.tier]
        own = {record.tenant for record in mine if record.key_source in OWN}
        assert (each.tenants, each.tenants_with_own_keys) == (len({record.tenant for record in mine}), len(own))
        assert each.own_key_requests == sum(record.key_source in OWN for record in mine)
    assert {each.tier for each in found.tiers} == {Tier.FREE, Tier.STARTER, None}
    assert found.openrouter.requests == sum(record.provider == "openrouter" for record in records)
    models = Counter(record.model for record in records if record.outcome is Outcome.COMPLETED)
    shares = [count / models.total() for count in models.values()]
    assert found.models.models == len(models)
    expected = exp(-sum(share * log(share) for share in shares))
    assert found.models.effective_models_permille == pytest.approx(expected * 1000, abs=1)
    failed = [record for record in records if record.key_source in OWN and record.outcome is Outcome.FAILED]
    assert found.own_keys.failed == sum(each.failed for each in found.own_keys.classes) == len(failed)
    platform = [row for row in rows if row.record.key_source is KeySource.PLATFORM]
    cost = sum((row.cost_usd or Decimal(0) for row in platform), Decimal(0))
    charge = sum(row.charge_micro_usd or 0 for row in platform)
    assert (found.margin.cost_usd, found.margin.charge_micro_usd) == (cost, charge)
    assert found.margin.margin_usd == Decimal(charge) / 10**6 - cost
    assert found.savings.own_key_attempts == sum(by_source[source] for source in OWN)


async def test_how_soon_tenants_begin(ledger: AnalyticsLedger) -> None:
    minute = timedelta(minutes=1)
    events = [
        event(1, "t1", "tenant.create", SINCE),
        event(2, "t1", "key.add", SINCE + 5 * minute, AuditOutcome.REFUSED),
        event(3, "t1", "key.add", SINCE + 10 * minute),
        event(4, "t1", "key.add", SINCE + 20 * minute),
        event(5, "t2", "tenant.create", SINCE),
        event(6, "t3", "tenant.create", SINCE + minute),
        event(7, "t3", "key.add", SINCE + 2 * minute),
        event(8, "early", "tenant.create", SINCE - minute),
        event(9, "early", "key.add", SINCE + 9 * minute),
        event(10, "seeded", "key.add", SINCE + 9 * minute),
    ]
    await AuditStore(ledger.engine).append(events, NOW)
    attempts = [
        attempt_record(tenant=tenant, started_at=SINCE + minutes * minute)
        for tenant, minutes in (("t1", 17), ("t1", 18), ("t2", 400), ("t2", 300), ("seeded", 1), ("early", 1))
    ]
    await ledger.record([ledger_row(record) for record in attempts])
    reports = InstallationReports(ledger.reports, ledger.estimates)
    found = (await reports.analyze(AnalyzeInstallation(period="2026-11"))).onboarding
    assert (found.tenants_created, found.with_own_key, found.with_request) == (3, 2, 2)
    assert (found.median_seconds_to_key, found.median_seconds_to_request) == (60, 17 * 60)
    # What is no longer kept counts from the beginning of its quarter hour.
    await ledger.query("DELETE FROM attempts")
    again = (await reports.analyze(AnalyzeInstallation(period="2026-11"))).onboarding
    assert (again.with_request, again.median_seconds_to_request) == (2, 15 * 60)


async def test_without_any_attempt_nothing_is_known(ledger: AnalyticsLedger) -> None:
    found = await InstallationReports(ledger.reports, ledger.estimates).analyze(AnalyzeInstallation(period="all"))
    assert (found.tenants, found.requests, found.key_sources, found.tiers) == (0, 0, [], [])
    assert (found.openrouter.requests_permille, found.own_keys.failed_permille) == (None, None)
    assert (found.onboarding.median_seconds_to_key, found.models.effective_models_permille) == (None, 0)


@pytest.mark.parametrize("values", [{"tenant": "acme"}, {"filters": {"team": ["red"]}}, {"tags": {"a": ["b"]}}])
def test_it_is_about_everything(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="all tenants"):
        AnalyzeInstallation.model_validate(values)
