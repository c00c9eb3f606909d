"""A forecast goes by whole days only."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.analytics import ForecastUsage
from tests.integration.usage_ledger.analytics.conftest import NOW, AnalyticsLedger, ledger_row
from tests.support.ledger.attempt_records import attempt_record

FIRST = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(("began_at", "days"), [(timedelta(hours=20), 4), (timedelta(minutes=15), 4), (timedelta(), 5)])
async def test_the_day_in_which_a_tenant_began_is_not_a_whole_one(
    ledger: AnalyticsLedger, began_at: timedelta, days: int
) -> None:
    moments = [FIRST + began_at, *(FIRST + timedelta(days=day, hours=12) for day in range(1, 5))]
    await ledger.record([ledger_row(attempt_record(started_at=moment), "2", spend_micro_usd=10) for moment in moments])
    found = await ledger.estimates.forecast(ForecastUsage(tenant="acme"))
    assert found.days_seen == days
    # Every whole day cost two dollars; a day and 14 h 20 min are left.
    assert found.cost is not None
    left = (datetime(2026, 12, 1, tzinfo=UTC) - NOW) / timedelta(days=1)
    assert found.cost.likely_micro_usd == round(10_000_000 + 2_000_000 * left)


async def test_without_a_whole_day_the_amounts_are_unknown(ledger: AnalyticsLedger) -> None:
    began = NOW - timedelta(days=1)
    await ledger.record([ledger_row(attempt_record(started_at=began), "2", spend_micro_usd=10)])
    found = await ledger.estimates.forecast(ForecastUsage(tenant="acme"))
    assert (found.days_seen, found.cost) == (0, None)
