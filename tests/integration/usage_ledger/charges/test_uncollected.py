"""A charge that found nothing in its lease is nobody's revenue, and a re-rating gives nothing of it back."""

from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.accounts import ABSORBED, REVENUE
from keyferry.contracts.charges import GetMargin, RerateTenant, Rerating
from keyferry.contracts.usage import TokenUsage
from services.usage_ledger.accounts.store import read_balances
from services.usage_ledger.accounts.transfer import MAX_AMOUNT
from services.usage_ledger.charges.margin_store import MarginStore
from services.usage_ledger.corrections import JOIN_CORRECTED, current
from services.usage_ledger.credit.settlement import CreditSettlement
from services.usage_ledger.store import LedgerStore
from tests.integration.usage_ledger.charges.test_reratings import NOW, PLAN, SINCE, Tables


class UncollectedTables(Tables):
    """Tables whose attempts come after their leases were closed: nothing of their charges is collected."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.store = LedgerStore(engine, [CreditSettlement()])

    async def pay(self, transfer_id: str, account: str, amount: int) -> None:
        """Leave the charge to the settlement, which finds no lease."""

    async def unexplained(self) -> int:
        """Return what of the platform's revenue is not what attempts are charged now."""
        charged = f"SELECT coalesce(sum({current('charge_micro_usd')}), 0) FROM usage_ledger.attempts {JOIN_CORRECTED}"
        async with self.engine.connect() as connection:
            revenue = (await read_balances(connection, [REVENUE]))[REVENUE].posted
            return revenue - int(await connection.scalar(text(charged)) or 0)

    async def earned(self) -> int:
        """Return what the platform has of all charges that it did not pay itself."""
        async with self.engine.connect() as connection:
            found = await read_balances(connection, [REVENUE, ABSORBED])
        return sum(balance.posted for balance in found.values())


def amounts_of(tenant: str, done: Rerating) -> RerateTenant:
    (found,) = [each for each in done.tenants if each.tenant == tenant]
    return found


async def test_a_lower_price_gives_nothing_back_that_was_not_collected(engine: AsyncEngine) -> None:
    tables = UncollectedTables(engine)
    await tables.grant("late", 1000)
    row = await tables.record("late")
    assert row.charge_micro_usd == 1400
    before = await tables.earned()
    tables.set_price("m", "0.5")
    done = amounts_of("late", await tables.rerate("lower"))
    assert (done.refunded_usd, done.charged_usd) == (Decimal(0), Decimal(0))
    assert done.absorbed_usd == Decimal("-0.0007"), "the platform bears the lower charge"
    assert (await tables.balance("late"), await tables.earned()) == (1000, before)
    tables.set_price("m", "0.2")
    again = amounts_of("late", await tables.rerate("lower-still"))
    assert again.refunded_usd == Decimal(0)
    assert await tables.balance("late") == 1000


async def test_a_higher_price_takes_only_what_is_added(engine: AsyncEngine) -> None:
    tables = UncollectedTables(engine)
    await tables.grant("late-2", 10_000)
    await tables.record("late-2")
    tables.set_price("m", "1.5")
    done = amounts_of("late-2", await tables.rerate("higher"))
    assert done.charged_usd == Decimal("0.0007")
    assert await tables.balance("late-2") == 10_000 - 700


async def test_revenue_is_what_attempts_are_charged_after_a_re_rating(engine: AsyncEngine) -> None:
    tables = UncollectedTables(engine)
    await tables.grant("late-4", 10_000)
    before = await tables.unexplained()
    await tables.record("late-4")
    assert await tables.unexplained() == before
    tables.set_price("m", "0.5")
    await tables.rerate("late-4-lower")
    assert await tables.unexplained() == before
    tables.set_price("m", "2")
    await tables.rerate("late-4-higher")
    assert await tables.unexplained() == before


async def test_absurd_charges_keep_no_attempt_from_being_re_rated(engine: AsyncEngine) -> None:
    tables = UncollectedTables(engine)
    await tables.grant("absurd", 10_000)
    tables.set_price("other", "1000000")
    for _ in range(2):
        await tables.record("absurd", MAX_AMOUNT, model="other", token_usage=TokenUsage(input=10**9))
    tables.set_price("other", "1")
    done = amounts_of("absurd", await tables.rerate("absurd", model="other"))
    assert (done.corrected, done.refunded_usd) == (2, Decimal(0))
    assert await tables.balance("absurd") == 10_000


async def test_the_margin_counts_what_was_not_collected_as_borne(engine: AsyncEngine) -> None:
    tables = UncollectedTables(engine)
    margin = MarginStore(engine, PLAN, lambda: NOW)
    before = (await margin.read(GetMargin(since=SINCE))).total
    await tables.record("late-3")
    after = (await margin.read(GetMargin(since=SINCE))).total
    assert after.revenue_usd - before.revenue_usd == 0
    assert after.absorbed_usd - before.absorbed_usd == Decimal("0.0014")
    assert after.margin_usd - before.margin_usd == Decimal("-0.001")
