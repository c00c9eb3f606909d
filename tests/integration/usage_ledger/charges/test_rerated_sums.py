"""After a re-rating every sum agrees again: days, ranges, requests, exports, budgets, keys, and what the ledger was paid."""

import random
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.cli.request_output import format_shown
from keyferry.contracts.analytics import BreakDownUsage, Dimension, ListSeries, SummarizeAnalytics
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.request_log import ListRequests, LoggedAttempt, ShowRequest
from keyferry.contracts.request_rows import export_rows
from keyferry.contracts.usage import KeySource, SummarizeUsage
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.accounts.rebuild import AccountBalances
from services.usage_ledger.analytics.projection import RollupProjection
from services.usage_ledger.analytics.rebuild import RollupRebuild, UsageRollups
from services.usage_ledger.analytics.reports import UsageReports
from services.usage_ledger.budgets.rebuild import BudgetSpendingRebuild
from services.usage_ledger.budgets.spending_store import BudgetSpending
from services.usage_ledger.charges import rerating_store
from services.usage_ledger.key_spending_rebuild import KeySpendingRebuild
from services.usage_ledger.key_spending_store import KeySpendingStore
from services.usage_ledger.request_log.handlers import RequestLogHandlers
from services.usage_ledger.request_log.projection import RequestFacets
from services.usage_ledger.request_log.store import RequestLogStore
from services.usage_ledger.store import LedgerStore, Projection
from services.usage_ledger.usage_store import UsageStore
from tests.integration.usage_ledger.budgets.ledger import BudgetLedger, new_tenant
from tests.integration.usage_ledger.charges.test_reratings import NOW, PLAN, Tables

MOST = timedelta(days=20)
GRANT = 10**9


class Sums(Tables):
    """The tables with everything that follows from attempts."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        projections: list[Projection] = [
            KeySpendingStore(engine),
            BudgetSpending(),
            RequestFacets(),
            RollupProjection(),
        ]
        self.store = LedgerStore(engine, projections)
        self.reports = UsageReports(engine, lambda: NOW, lambda: None)
        self.since = NOW - MOST
        self.tenant = new_tenant()
        self.budgets = BudgetLedger(engine)
        self.log = RequestLogStore(engine)
        self.handlers = RequestLogHandlers(self.log, self.store, self.prices, PLAN, lambda: NOW)

    async def record_some(self, random_: random.Random, count: int) -> None:
        """Record attempts of several days: some paid in part, some with own keys, some without a known price or a hold."""
        for _ in range(count):
            await self.record(
                self.tenant,
                random_.choice([10**6, 700, None]),
                started_at=NOW - random_.random() * MOST,
                model=random_.choice(["m", "m", "other", "unlisted"]),
                key_source=random_.choice([KeySource.PLATFORM, KeySource.PLATFORM, KeySource.BYOK]),
                key_id=random_.choice(["key_a", "key_b", None]),
                charged_level=random_.choice(list(PowerLevel)),
                team=random_.choice(["red", None]),
                tags=random_.choice([{}, {"stage": "test"}, {"stage": "live", "job": "x"}]),
            )

    async def charged(self) -> dict[str, object]:
        """Return the charges in micro-dollars and the costs, as each way to ask for them adds them up."""
        span: dict[str, Any] = {"tenant": self.tenant, "since": NOW - MOST - timedelta(days=1), "until": NOW}
        days = (await self.reports.list_series(ListSeries(**span))).lines[0].points
        total = (await self.reports.summarize(SummarizeAnalytics(**span))).total
        by_model = (await self.reports.break_down(BreakDownUsage(**span, by=[Dimension.MODEL]))).rows
        page = await self.log.page(ListRequests(**span, limit=200), None, NOW)
        rows = [row for request in page.requests for row in export_rows(request, UTC)]
        usage = await UsageStore(self.engine).summarize(SummarizeUsage(**span))
        charges = {
            "days": sum(point.charge_micro_usd or 0 for point in days),
            "range": total.charge_micro_usd,
            "models": sum(row.figures.charge_micro_usd or 0 for row in by_model),
            "requests": sum(request.charge_micro_usd or 0 for request in page.requests),
            "export": sum(row["charge_micro_usd"] or 0 for row in rows),
            "ledger": GRANT - await self.balance(self.tenant),
        }
        costs = {
            "days": sum((point.cost_usd or Decimal(0) for point in days), Decimal(0)),
            "range": total.cost_usd,
            "requests": sum((request.cost_usd or Decimal(0) for request in page.requests), Decimal(0)),
            "export": sum((row["cost_usd"] or Decimal(0) for row in rows), Decimal(0)),
            "summary": usage.priced_cost_usd,
        }
        assert len(set(charges.values())) == 1, charges
        assert len(set(costs.values())) == 1, costs
        return {"charge": charges["ledger"], "cost": costs["range"]}

    async def check(self) -> None:
        """Compute everything from the records again, which changes nothing."""
        rollups = UsageRollups(RollupRebuild(self.engine))
        budgets = BudgetSpendingRebuild(self.engine, lambda: NOW)
        for projection in (AccountBalances(self.engine), KeySpendingRebuild(self.engine), budgets, rollups):
            report = await projection.check()
            assert report.differences == [], report.name
            assert report.compared, report.name

    async def rebuild(self) -> None:
        """Damage and replace what is spent of budgets."""
        async with self.engine.begin() as connection:
            await connection.execute(
                text("UPDATE usage_ledger.budget_spending SET spent_micro_usd = 7 WHERE attempts > 1")
            )
            await connection.execute(text("DELETE FROM usage_ledger.budget_spending WHERE attempts = 1"))
        budgets = BudgetSpendingRebuild(self.engine, lambda: NOW)
        assert (await budgets.check()).different
        assert (await budgets.rebuild()).different

    async def budget(
        self, scope: str = "tenant", value: str | None = None, limit_micro_usd: int = 10**8, **window: Any
    ) -> Any:
        """Add a budget, and return its state."""
        terms = {"scope": scope, "value": value, "window": window, "limit_micro_usd": limit_micro_usd}
        return await self.budgets.save(self.tenant, now=NOW, **terms)

    async def spent(self, budget_id: str) -> int:
        """Return what is spent in all windows of a budget."""
        statement = text("SELECT sum(spent_micro_usd) FROM usage_ledger.budget_spending WHERE budget_id = :id")
        async with self.engine.connect() as connection:
            return int(await connection.scalar(statement, {"id": budget_id}) or 0)

    async def attempts(self, **filters: Any) -> list[LoggedAttempt]:
        """Return the attempts that the log finds."""
        page = await self.log.page(ListRequests(tenant=self.tenant, limit=200, **filters), None, NOW)
        return [attempt for request in page.requests for attempt in request.attempts]


@pytest.fixture
async def sums(engine: AsyncEngine) -> Sums:
    found = Sums(engine)
    await found.grant(found.tenant, GRANT)
    return found


async def test_every_sum_follows_a_re_rating_and_the_next_one(sums: Sums) -> None:
    random_ = random.Random(5)
    early = (await sums.budget(calendar="month")).budget.budget_id
    await sums.record_some(random_, 60)
    late = (await sums.budget(scope="key", value="key_a", calendar="day")).budget.budget_id
    rolling = (await sums.budget(scope="model", value="openai/m", rolling_hours=720)).budget.budget_id
    await sums.record_some(random_, 60)
    first = await sums.charged()
    recorded = await sums.dump()
    await sums.check()
    budgets = {each: await sums.spent(each) for each in (early, late, rolling)}
    for price_of_input in ("3", "0.25", "2"):
        sums.set_price("m", price_of_input)
        sums.set_price("unlisted", price_of_input)
        for model in ("m", "unlisted"):
            done = await sums.rerate(f"{sums.tenant}-{price_of_input}-{model}", model=model)
            assert done.total.corrected
        assert await sums.charged() != first
        await sums.check()
        changed = {each: await sums.spent(each) for each in budgets}
        assert all(changed[each] != budgets[each] for each in budgets), (budgets, changed)
    assert await sums.dump() == recorded
    sums.prices.install([])
    await sums.rerate(f"{sums.tenant}-back")
    await sums.record_some(random_, 20)
    await sums.charged()
    await sums.check()
    await sums.rebuild()
    await sums.check()


async def test_a_re_rating_that_is_killed_has_done_nothing_and_goes_on_once(
    sums: Sums, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sums.budget(calendar="month")
    await sums.record_some(random.Random(6), 30)
    before = await sums.charged()
    sums.set_price("m", "3")

    async def die(*_: object) -> None:
        raise DatabaseUnavailable("killed")

    for step in ("correct_key_spending", "correct_spending", "correct_rollups"):
        with monkeypatch.context() as patched:
            patched.setattr(rerating_store, step, die)
            with pytest.raises(DatabaseUnavailable):
                await sums.rerate(sums.tenant)
        assert await sums.charged() == before
        await sums.check()
    assert (await sums.rerate(sums.tenant)).total.corrected
    after = await sums.charged()
    assert after != before
    await sums.rerate(sums.tenant)
    assert await sums.charged() == after
    await sums.check()


async def test_a_request_shows_what_was_recorded_and_what_holds(sums: Sums) -> None:
    row = await sums.record(sums.tenant)
    sums.set_price("m", "2")
    await sums.rerate(sums.tenant)
    shown = await sums.handlers.show(ShowRequest(tenant=sums.tenant, request_id=row.record.request_id))
    (attempt,) = shown.attempts
    assert (attempt.cost_usd, attempt.charge_micro_usd, attempt.spend_micro_usd) == (Decimal("0.002"), 2800, 2800)
    before = attempt.before_rerating
    assert before is not None
    assert attempt.price_version != row.price_version
    assert (before.rerate_id, before.cost_usd, before.charge_micro_usd, before.price_version) == (
        sums.tenant, row.cost_usd, row.charge_micro_usd, row.price_version,
    )  # fmt: skip
    assert shown.request is not None
    assert shown.request.attempts[0].before_rerating == before
    (arithmetic,) = shown.arithmetic
    assert (arithmetic.cost_usd, sum(line.cost_usd for line in arithmetic.lines)) == (Decimal("0.002"),) * 2
    lines = format_shown(shown, row.record.request_id)
    assert "  recorded       cost $0.001 at prices v1, charge $0.0014" in lines, lines
    assert f"  corrected by   the re-rating {sums.tenant}" in lines
    assert [each.before_rerating for each in await sums.attempts(min_cost_usd="0.0015")] == [before]
    assert await sums.attempts(min_cost_usd="0.0025") == []


async def test_a_hard_budgets_account_follows_in_its_open_window(sums: Sums) -> None:
    budget = (await sums.budget(calendar="month", limit_micro_usd=5000)).budget.budget_id
    await sums.record(sums.tenant)
    account = f"budget/{budget}/2026-11-01"
    for price_of_input, left in (("1", 3600), ("3", 800), ("9", 0), ("2", 2200)):
        sums.set_price("m", price_of_input)
        await sums.rerate(f"{sums.tenant}-{price_of_input}")
        assert await sums.budgets.prepare(sums.tenant, account, NOW)
        assert await sums.budgets.available(account) == left
    await sums.check()
