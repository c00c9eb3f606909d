"""Re-ratings, margins and free requests on PostgreSQL: nothing recorded changes, and no balance is overdrawn."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.accounts import GRANTED, REVENUE, AccountKind, lease_account
from keyferry.contracts.charges import GetMargin, MarginRow, RerateAttempts, Rerating
from keyferry.contracts.credit import CreditLease, Hold, LeaseCredit, LeaseResult, Reservation, credits_account
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.price_edits import PriceEntry
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.usage import KeySource, LedgerRow, TokenUsage
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import PriceList
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.accounts.store import apply_transfers, read_balances
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.charges.allowance_store import AllowanceStore
from services.usage_ledger.charges.margin_store import MarginStore
from services.usage_ledger.charges.rerating_store import RerateStore
from services.usage_ledger.charging import bill
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.pricing import price
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SINCE = NOW - timedelta(days=2)
PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8"))
LISTED = PriceList.parse(
    'version = "v1"\neffective = 2026-01-01\n'
    '[[price]]\nprovider = "openai"\nmodel = "m"\ninput = 1\noutput = 4\n'
    '[[price]]\nprovider = "openai"\nmodel = "other"\ninput = 1\noutput = 4\n'
)


class Tables:
    """The tables of one test: the prices may be changed, and everything goes through the ledger's own code."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.prices = PriceBook(LISTED)
        self.since = SINCE
        self.entries: dict[str, PriceEntry] = {}
        self.store = LedgerStore(engine)
        self.reratings = RerateStore(engine, self.prices, PLAN, lambda: NOW)

    def set_price(self, model: str, input_price: str) -> None:
        entry = PriceEntry.model_validate(
            {
                "provider": "openai",
                "model": model,
                "effective": self.since - timedelta(days=1),
                "revision": 7,
                "prices": {"input": input_price, "output": "4"},
                "changed_at": NOW,
                "changed_by": "operator",
            }
        )
        self.entries[model] = entry
        self.prices.install(self.entries.values())

    async def record(self, tenant: str, hold: int | None = 10**6, **fields: object) -> LedgerRow:
        """Record an attempt of 1000 tokens of input, and settle its charge as its lease does."""
        reservation = None
        if hold is not None:
            held = Hold(lease_id=f"lse_{tenant}", account=credits_account(tenant), amount=hold)
            reservation = Reservation(holds=[held], not_after_unix_ms=1)
        values: dict[str, object] = {
            "tenant": tenant,
            "provider": "openai",
            "model": "m",
            "key_source": KeySource.PLATFORM,
            "tier": Tier.STARTER,
            "charged_level": PowerLevel.PRECISION,
            "token_usage": TokenUsage(input=1000),
            "reservation": reservation,
            "started_at": NOW - timedelta(days=1),
        }
        record = attempt_record(**(values | fields))
        found = price(record, self.prices)
        row = LedgerRow(
            record=record, cost_usd=found.cost_usd, price_version=found.version, pricing=found.pricing, recorded_at=NOW
        )
        row = bill(row, found, PLAN)
        await self.store.record_attempts([row])
        if row.charge_micro_usd:
            await self.pay(f"settle:{record.attempt_id}", credits_account(tenant), row.charge_micro_usd)
        return row

    async def grant(self, tenant: str, amount: int) -> None:
        grant = Transfer(
            transfer_id=f"grant:{tenant}:{amount}",
            debit=GRANTED,
            credit=credits_account(tenant),
            amount=amount,
            purpose=TransferPurpose.GRANT,
        )
        async with self.engine.begin() as connection:
            await apply_transfers(connection, [grant], NOW)

    async def pay(self, transfer_id: str, account: str, amount: int) -> None:
        lease = lease_account(transfer_id.replace(":", "_"))
        transfers = [
            Transfer(
                transfer_id=f"{transfer_id}:{step}",
                debit=debit,
                credit=credit,
                amount=amount,
                purpose=purpose,
            )
            for step, debit, credit, purpose in (
                (1, account, lease, TransferPurpose.LEASE),
                (2, lease, REVENUE, TransferPurpose.SETTLEMENT),
            )
        ]
        async with self.engine.begin() as connection:
            await apply_transfers(connection, transfers, NOW)

    async def balance(self, tenant: str) -> int:
        account = credits_account(tenant)
        async with self.engine.connect() as connection:
            return (await read_balances(connection, [account]))[account].available

    async def rerate(self, rerate_id: str, *, model: str = "m", dry_run: bool = False) -> Rerating:
        return await self.reratings.rerate(
            RerateAttempts(
                rerate_id=rerate_id,
                provider="openai",
                model=model,
                since=self.since,
                dry_run=dry_run,
                reason="the price was wrong",
            )
        )

    async def dump(self) -> list[tuple[object, ...]]:
        async with self.engine.connect() as connection:
            rows = await connection.execute(text("SELECT * FROM usage_ledger.attempts ORDER BY attempt_id"))
            return [tuple(row) for row in rows]


@pytest.fixture
async def tables(engine: AsyncEngine) -> Tables:
    found = Tables(engine)
    async with engine.begin() as connection:
        # Each test has the attempts of its own only; nothing else may remove any.
        await connection.execute(text("DELETE FROM usage_ledger.attempts"))
    return found


async def test_a_higher_price_is_charged_once_and_nothing_recorded_changes(tables: Tables) -> None:
    await tables.grant("acme", 10_000)
    for _ in range(3):
        await tables.record("acme")
    await tables.record("acme", model="other")
    await tables.record("acme", started_at=SINCE - timedelta(seconds=1))
    # 1000 x 1 = 1000 micro-dollars, x 1.4 = 1400, five times.
    assert await tables.balance("acme") == 10_000 - 5 * 1400
    before = await tables.dump()
    tables.set_price("m", "1.5")
    tried = await tables.rerate("try", dry_run=True)
    assert await tables.balance("acme") == 3000
    done = await tables.rerate("first")
    assert done.total == tried.total
    # Three attempts, 2100 instead of 1400 each.
    assert (done.total.examined, done.total.corrected, done.total.unknown) == (3, 3, 0)
    assert (done.total.cost_difference_usd, done.total.charged_usd) == (Decimal("0.0015"), Decimal("0.0021"))
    assert await tables.balance("acme") == 900
    again = await tables.rerate("first")
    assert (again.repeated, again.total, await tables.balance("acme")) == (True, done.total, 900)
    other = await tables.rerate("second")
    assert (other.repeated, other.total.corrected) == (False, 0), "the first one has corrected everything"
    assert await tables.dump() == before
    tables.prices.install([])
    back = await tables.rerate("back")
    assert (back.total.refunded_usd, await tables.balance("acme")) == (Decimal("0.0021"), 3000)


async def test_what_a_balance_cannot_bear_is_absorbed_and_is_never_refunded(tables: Tables) -> None:
    await tables.grant("poor", 3000)
    await tables.record("poor")
    await tables.record("poor")
    assert await tables.balance("poor") == 200
    tables.set_price("m", "2")
    found = (await tables.rerate("poor-1")).total
    assert (found.charged_usd, found.absorbed_usd) == (Decimal("0.0002"), Decimal("0.0026"))
    assert await tables.balance("poor") == 0
    tables.prices.install([])
    back = (await tables.rerate("poor-2")).total
    assert (back.refunded_usd, back.absorbed_usd, await tables.balance("poor")) == (
        Decimal("0.0002"), Decimal("-0.0026"), 200,
    )  # fmt: skip


async def test_refunds_reach_each_tenant_and_a_tenant_without_credits_pays_nothing(tables: Tables) -> None:
    await tables.grant("one", 5000)
    await tables.record("one")
    await tables.record("two", None)
    await tables.record("three", None, key_source=KeySource.BYOK)
    tables.set_price("m", "0.5")
    found = await tables.rerate("cheaper")
    by_tenant = {each.tenant: each for each in found.tenants}
    assert (by_tenant["one"].refunded_usd, await tables.balance("one")) == (Decimal("0.0007"), 5000 - 700)
    assert {by_tenant[name].cost_difference_usd for name in ("two", "three")} == {Decimal("-0.0005")}
    assert {by_tenant[name].refunded_usd for name in ("two", "three")} == {Decimal(0)}


async def test_another_re_rating_with_the_same_id_is_refused(tables: Tables) -> None:
    await tables.rerate("same")
    with pytest.raises(Refused, match="another id"):
        await tables.rerate("same", model="other")


async def test_corrections_are_append_only(tables: Tables) -> None:
    await tables.grant("fixed", 5000)
    await tables.record("fixed")
    tables.set_price("m", "2")
    await tables.rerate("fixed")
    for table in ("reratings", "rerated_tenants", "rerated_attempts"):
        for statement in (f"UPDATE usage_ledger.{table} SET rerate_id = 'x'", f"DELETE FROM usage_ledger.{table}"):
            with pytest.raises(DBAPIError):
                async with tables.engine.begin() as connection:
                    await connection.execute(text(statement))


async def test_the_margin_counts_corrections_free_requests_and_plans_below_cost(tables: Tables) -> None:
    await tables.grant("margin", 10_000)
    await tables.record("margin")
    await tables.record("margin", hold=400)
    await tables.record("margin", charged_level=PowerLevel.ECO)
    free = Hold(lease_id="lse_1", account="allowance/gratis/2026-11", amount=1)
    await tables.record("gratis", tier=Tier.FREE, reservation=Reservation(holds=[free], not_after_unix_ms=1))
    await tables.record("margin", model="unlisted")
    await tables.record("margin", None, key_source=KeySource.BYOK)
    margin = MarginStore(tables.engine, PLAN, lambda: NOW)
    found = await margin.read(GetMargin(since=SINCE))
    rows = {(row.tier, row.level): row for row in found.rows}
    # Precision: 1400 and 400 paid, 1000 borne; the one without a price and the one with an own key cost the platform nothing.
    assert rows[Tier.STARTER, PowerLevel.PRECISION] == MarginRow(
        tier=Tier.STARTER,
        level=PowerLevel.PRECISION,
        attempts=4,
        unpriced=1,
        free=0,
        provider_cost_usd=Decimal("0.002"),
        revenue_usd=Decimal("0.0018"),
        absorbed_usd=Decimal("0.001"),
        margin_usd=Decimal("-0.0002"),
    )
    eco = rows[Tier.STARTER, PowerLevel.ECO]
    assert (eco.revenue_usd, eco.margin_usd) == (Decimal("0.00014"), Decimal("-0.00086"))
    gratis = rows[Tier.FREE, PowerLevel.PRECISION]
    assert (gratis.free, gratis.revenue_usd, gratis.provider_cost_usd) == (1, Decimal(0), Decimal("0.001"))
    assert found.total.revenue_usd == Decimal("0.00194")
    assert found.total.margin_usd == found.total.revenue_usd - Decimal("0.004")
    assert len(found.below_cost) == 8
    tables.set_price("m", "2")
    await tables.rerate("margin")
    later = (await margin.read(GetMargin(since=SINCE))).total
    assert later.provider_cost_usd == Decimal("0.008")
    assert later.revenue_usd + later.absorbed_usd == Decimal("0.0028") * 2 + Decimal("0.00028")
    with pytest.raises(Refused):
        await margin.read(GetMargin(since=NOW, until=NOW))


async def test_free_requests_are_funded_once_and_read(engine: AsyncEngine) -> None:
    tiers = {"gratis": Tier.FREE, "paying": Tier.STARTER}
    known = True

    def tenant_of(name: str) -> Tenant | None:
        return Tenant(tenant=name, name=name, tier=tiers[name]) if name in tiers else None

    store = AllowanceStore(engine, PLAN, tenant_of, lambda: known)
    account = "allowance/gratis/2026-11"
    assert (await store.read("gratis", NOW)).left == 50
    for _ in range(2):
        async with engine.begin() as connection:
            assert await store.open_account(connection, "gratis", account, NOW)
            assert not await store.open_account(connection, "paying", "allowance/paying/2026-11", NOW)
            assert not await store.open_account(connection, "nobody", "allowance/nobody/2026-11", NOW)
    async with engine.begin() as connection:
        transfers = [
            Transfer(transfer_id="free:1", debit=account, credit="lease/f1", amount=47, purpose=TransferPurpose.LEASE),
            Transfer(
                transfer_id="free:2",
                debit="lease/f1",
                credit="platform/allowance",
                amount=45,
                purpose=TransferPurpose.SETTLEMENT,
            ),
        ]
        await apply_transfers(connection, transfers, NOW)
    found = await store.read("gratis", NOW)
    assert (found.requests, found.used, found.held, found.left) == (50, 45, 2, 3)
    assert found.notice is not None
    assert (await store.read("paying", NOW)).requests == 0
    with pytest.raises(Refused, match="no tenant"):
        await store.read("nobody", NOW)
    known = False
    with pytest.raises(Refused, match="not known yet"):
        await store.read("gratis", NOW)


async def test_the_first_lease_of_free_requests_funds_their_account(engine: AsyncEngine) -> None:
    tenant = Tenant(tenant="leasing", name="leasing", tier=Tier.FREE)
    store = AllowanceStore(engine, PLAN, {"leasing": tenant}.get, lambda: True)
    leases = CreditLeaseStore(engine, {AccountKind.ALLOWANCE: store.open_account})

    async def lease(month: str) -> CreditLease:
        ask = LeaseCredit(tenant="leasing", account=f"allowance/leasing/{month}", need=1, want=2, epoch="epo_1")
        return await leases.lease(ask, "router", NOW)

    assert (await lease("2026-11")).result is LeaseResult.GRANTED
    assert (await lease("2026-11")).available == 48
    assert (await lease("2026-10")).result is LeaseResult.UNKNOWN_ACCOUNT
    found = await store.read("leasing", NOW)
    assert (found.used, found.held, found.left) == (0, 2, 48)


async def test_a_process_of_an_earlier_build_corrects_nothing_that_no_sum_would_have(tables: Tables) -> None:
    await tables.grant("earlier", 5000)
    row = await tables.record("earlier")
    tables.set_price("m", "2")
    await tables.rerate("begun")
    earlier = text("""
        INSERT INTO usage_ledger.rerated_attempts
            (rerate_id, tenant, attempt_id, cost_usd, absorbed_micro_usd_before, absorbed_micro_usd)
        VALUES ('begun', 'earlier', :attempt_id || '2', 1, 0, 0)
    """)
    with pytest.raises(DBAPIError, match="corrections_are_whole"):
        async with tables.engine.begin() as connection:
            await connection.execute(earlier, {"attempt_id": row.record.attempt_id})
