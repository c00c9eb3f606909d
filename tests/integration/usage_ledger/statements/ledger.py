"""The ledger's own stores on a real database, driven through months by a clock of the test."""

import itertools
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts import ids
from keyferry.contracts.accounts import ADJUSTMENTS, GRANTED, PAYMENTS
from keyferry.contracts.charges import RerateAttempts
from keyferry.contracts.credit import Hold, LeaseCredit, Reservation, credits_account
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.price_edits import PriceEntry
from keyferry.contracts.statements import GetStatement, Statement, Statements
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.usage import KeySource, LedgerRow, Outcome, TokenUsage
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import PriceList
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.analytics.projection import RollupProjection
from services.usage_ledger.analytics.reports import UsageReports
from services.usage_ledger.charges.rerating_store import RerateStore
from services.usage_ledger.charging import bill
from services.usage_ledger.credit.settlement import CreditSettlement
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.pricing import price
from services.usage_ledger.statements.month_store import StatementMonthStore
from services.usage_ledger.statements.reports import StatementReports
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record

PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8"))
LISTED = PriceList.parse(
    'version = "v1"\neffective = 2025-01-01\n'
    '[[price]]\nprovider = "openai"\nmodel = "small"\ninput = 1\noutput = 4\n'
    '[[price]]\nprovider = "openai"\nmodel = "large"\ninput = 7\noutput = 30\n'
)
HOLD = 200_000
_names = itertools.count(1)


class StatementLedger:
    """One tenant of a ledger whose clock is `now`."""

    def __init__(self, engine: AsyncEngine, now: datetime, tz: str = "UTC") -> None:
        self.engine = engine
        self.now = now
        self.complete_until: datetime | None = None
        self.tenant = Tenant(tenant=f"s{next(_names)}", name="Zażółć Ἑλλάς 株式会社", tier=Tier.STARTER, time_zone=tz)
        self.account = credits_account(self.tenant.tenant)
        self.prices = PriceBook(LISTED)
        self.credit = CreditLeaseStore(engine)
        self.store = LedgerStore(engine, [CreditSettlement(), RollupProjection()])
        self.usage = UsageReports(engine, lambda: self.now, lambda: None)
        self.reratings = RerateStore(engine, self.prices, PLAN, lambda: self.now)
        months = StatementMonthStore(engine)
        self.reports = StatementReports(months, engine, lambda: self.now, lambda: self.complete_until)

    def move_to(self, tz: str) -> None:
        """Give the tenant another zone."""
        self.tenant = self.tenant.model_copy(update={"time_zone": tz})

    async def post(self, debit: str, credit: str, amount: int, purpose: TransferPurpose, **more: Any) -> None:
        """Post a transfer now."""
        transfer = Transfer(
            transfer_id=ids.new("trf"), debit=debit, credit=credit, amount=amount, purpose=purpose, **more
        )
        async with self.engine.begin() as connection:
            await apply_transfers(connection, [transfer], self.now)

    async def grant(self, amount: int) -> None:
        """Give the tenant credits."""
        await self.post(GRANTED, self.account, amount, TransferPurpose.GRANT, reason="welcome")

    async def buy(self, amount: int) -> None:
        """Credit a payment."""
        payment = {"source": "stripe", "source_id": ids.new("pi"), "reason": "a package"}
        await self.post(PAYMENTS, self.account, amount, TransferPurpose.GRANT, **payment)

    async def take(self, amount: int) -> None:
        """Take credits away."""
        await self.post(self.account, ADJUSTMENTS, amount, TransferPurpose.ADJUSTMENT, reason="a mistake")

    async def attempt(self, *, began: datetime | None = None, paid: bool = True, **fields: object) -> LedgerRow:
        """Record an attempt that is charged by the plan, and settle it from a lease; or from none that is left."""
        lease_id, account = "lea_lost", self.account
        if paid:
            ask = LeaseCredit(tenant=self.tenant.tenant, account=account, need=HOLD, want=HOLD, epoch="e")
            lease = await self.credit.lease(ask, "router", self.now)
            assert lease.lease_id is not None, lease
            lease_id = lease.lease_id
        holds = [Hold(lease_id=lease_id, account=account, amount=HOLD)]
        values: dict[str, object] = {
            "tenant": self.tenant.tenant,
            "provider": "openai",
            "model": "small",
            "key_source": KeySource.PLATFORM,
            "tier": Tier.STARTER,
            "charged_level": PowerLevel.BALANCED,
            "token_usage": TokenUsage(input=1000, output=100),
            "reservation": Reservation(holds=holds, not_after_unix_ms=1),
            "started_at": began or self.now,
            "tags": {},
        }
        record = attempt_record(**(values | fields))
        found = price(record, self.prices)
        row = LedgerRow(
            record=record,
            cost_usd=found.cost_usd,
            price_version=found.version,
            pricing=found.pricing,
            recorded_at=self.now,
        )
        row = bill(row, found, PLAN)
        result = await self.store.record_attempts([row])
        assert not result.rejected, result.rejected
        return row

    async def random_attempt(self, chance: random.Random, latest: timedelta) -> LedgerRow:
        """Record an attempt of anything, which began up to so long ago."""
        late = chance.choice((timedelta(minutes=1), timedelta(hours=12), latest))
        return await self.attempt(
            began=self.now - chance.random() * late,
            paid=chance.random() < 0.9,
            model=chance.choice(("small", "large", "unlisted")),
            key_source=chance.choice((KeySource.PLATFORM, KeySource.PLATFORM, KeySource.BYOK)),
            outcome=chance.choice(list(Outcome)),
            token_usage=TokenUsage(input=chance.randrange(3000), cached_read=chance.randrange(500), output=200),
            team=chance.choice((None, "red", "blue")),
            member=chance.choice((None, "ann", "bob")),
            tags=chance.choice(({}, {"project": "a"}, {"project": "b", "stage": "live"}, {"stage": "test"})),
            request_id=f"req_{self.tenant.tenant}_{chance.randrange(400)}",
            attempt_number=chance.randrange(1, 4),
        )

    async def rerate(self, model: str, input_price: str, since: datetime) -> None:
        """Change a price, and correct the attempts of the model since then."""
        entry = {
            "provider": "openai",
            "model": model,
            "effective": datetime(2025, 1, 2, tzinfo=UTC),
            "revision": next(_names),
            "prices": {"input": input_price, "output": "5", "cached_read": "0.5"},
            "changed_at": self.now,
            "changed_by": "operator",
        }
        self.prices.install([PriceEntry.model_validate(entry)])
        command = RerateAttempts(
            rerate_id=ids.new("rr"), provider="openai", model=model, since=since, dry_run=False, reason="a wrong price"
        )
        await self.reratings.rerate(command)

    async def statement(self, month: str, tag: str | None = None) -> Statement:
        """Return the statement of a month."""
        return await self.reports.get(self.tenant, GetStatement(tenant=self.tenant.tenant, month=month, tag=tag))

    async def statements(self) -> Statements:
        """Return all months."""
        return await self.reports.list_months(self.tenant)

    async def rows(self, statement: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Return rows of a query of the test's own."""
        async with self.engine.begin() as connection:
            return list(await connection.execute(text(statement), dict(values or {})))

    async def balance(self) -> int:
        """Return what the tenant has, held credits included."""
        statement = """
        SELECT coalesce(sum(credits_posted - debits_posted), 0) AS amount FROM usage_ledger.accounts
        WHERE name = :account OR parent = :account"""
        return int((await self.rows(statement, {"account": self.account}))[0].amount)

    async def posted_between(self, since: datetime, until: datetime) -> int:
        """Return by how much the transfers of a span changed what the tenant has, without any sum that the ledger keeps."""
        statement = """
        SELECT coalesce(sum(CASE WHEN t.credit = :account THEN t.amount ELSE -t.amount END), 0) AS amount
        FROM usage_ledger.transfers AS t
        LEFT JOIN usage_ledger.accounts AS debit ON debit.name = t.debit
        WHERE t.recorded_at >= :since AND t.recorded_at < :until AND t.debit || t.credit LIKE '%platform/%'
            AND (t.credit = :account OR t.debit = :account OR debit.parent = :account)"""
        values = {"account": self.account, "since": since, "until": until}
        return int((await self.rows(statement, values))[0].amount)

    async def current_sums(self, since: datetime, until: datetime) -> tuple[int, Decimal, int]:
        """Return the charges, the costs and the number of the attempts that began in a span, from the attempts alone."""
        statement = """
        SELECT coalesce(sum(coalesce(c.charge_micro_usd, a.charge_micro_usd)), 0) AS charge,
            coalesce(sum(coalesce(c.cost_usd, a.cost_usd)), 0) AS cost, count(*) AS attempts
        FROM usage_ledger.attempts AS a LEFT JOIN usage_ledger.corrected_attempts AS c USING (attempt_id)
        WHERE a.tenant = :tenant AND a.started_at >= :since AND a.started_at < :until"""
        (row,) = await self.rows(statement, {"tenant": self.tenant.tenant, "since": since, "until": until})
        return int(row.charge), row.cost, row.attempts
