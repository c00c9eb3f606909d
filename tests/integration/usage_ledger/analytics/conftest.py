"""A ledger's tables, with the rollups that ingestion keeps, and queries of them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.usage import AttemptRecord, LedgerRow
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.prices import load_prices
from services.usage_ledger.analytics.estimates import UsageEstimates
from services.usage_ledger.analytics.projection import RollupProjection
from services.usage_ledger.analytics.rebuild import RollupRebuild
from services.usage_ledger.analytics.reports import UsageReports
from services.usage_ledger.store import InsertResult, LedgerStore
from tests.support.servers.migrated_database import migrated_database

NOW = datetime(2026, 11, 29, 9, 40, tzinfo=UTC)


@dataclass
class AnalyticsLedger:
    """The ledger's stores on one database, at a fixed time."""

    engine: AsyncEngine
    now: datetime = NOW
    store: LedgerStore = field(init=False)
    reports: UsageReports = field(init=False)
    estimates: UsageEstimates = field(init=False)
    rebuild: RollupRebuild = field(init=False)

    def __post_init__(self) -> None:
        self.store = LedgerStore(self.engine, [RollupProjection()])
        self.reports = UsageReports(self.engine, lambda: self.now, lambda: None)
        plan = BillingPlan.parse(BUNDLED_PLAN.read_text())
        self.estimates = UsageEstimates(self.reports, PriceBook(load_prices(BUNDLED_PRICES)), plan)
        self.rebuild = RollupRebuild(self.engine)

    async def record(self, rows: Sequence[LedgerRow]) -> InsertResult:
        return await self.store.record_attempts(rows)

    async def query(self, statement: str) -> list[tuple[object, ...]]:
        async with self.engine.begin() as connection:
            found = await connection.execute(text(statement))
            return [tuple(row) for row in found] if found.returns_rows else []


def ledger_row(record: AttemptRecord, cost: str | None = "0.001", **amounts: object) -> LedgerRow:
    """Return an attempt as it is stored, at a cost in dollars or at none that is known."""
    values = {
        "record": record,
        "cost_usd": None if cost is None else Decimal(cost),
        "price_version": None if cost is None else "test",
        "pricing": "unpriced" if cost is None else "priced",
        "recorded_at": NOW,
    }
    return LedgerRow.model_validate(values | amounts)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[AnalyticsLedger]:
    """Provide an empty ledger."""
    database = migrated_database(tmp_path, "usage_ledger")
    engine = create_async_engine(database.url_files["usage_ledger"].read_text())
    yield AnalyticsLedger(engine)
    await engine.dispose()
