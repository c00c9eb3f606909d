"""The month that the ledger's README works through, posted to a real database: both of its tables hold."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.billing.charge import charge
from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.accounts import ADJUSTMENTS, ALLOWANCES, REVENUE, AccountKind
from keyferry.contracts.credit import CreditLease, LeaseCredit
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource, LedgerRow
from services.usage_ledger.accounts.store import apply_transfers
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from tests.integration.usage_ledger.credit.ledger import EPOCH, NOW, ROUTER, CreditLedger
from tests.support.repository.files import ROOT

README = Path(ROOT / "services" / "usage_ledger" / "README.md").read_text(encoding="utf-8")
HOLD = 57_575
ALLOWANCE = "allowance/globex/2026-11"
PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8"))


def amount(cell: str) -> int:
    return int(re.sub(r"[\s*]", "", cell).replace("−", "-"))


def rows_of(first_heading: str) -> list[list[str]]:
    """Return the cells of the README's table whose first column has this heading."""
    lines = README[README.index(f"| {first_heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def charged(cost_usd: str) -> int:
    return charge(Decimal(cost_usd), PLAN, key_source=KeySource.PLATFORM, level=PowerLevel.BALANCED, tier=Tier.STARTER)


async def post(engine: AsyncEngine, name: str, debit: str, credit: str, value: int, purpose: TransferPurpose) -> None:
    transfer = Transfer(transfer_id=name, debit=debit, credit=credit, amount=value, purpose=purpose)
    async with engine.begin() as connection:
        await apply_transfers(connection, [transfer], NOW)


def attempt(ledger: CreditLedger, lease: CreditLease, cost_usd: str) -> LedgerRow:
    """Return an attempt of this cost, charged no more than its hold."""
    full = charged(cost_usd)
    row = ledger.attempt(lease, HOLD, min(full, HOLD))
    return row.model_copy(update={"absorbed_micro_usd": max(0, full - HOLD)})


async def post_the_month(engine: AsyncEngine) -> None:
    acme = CreditLedger(engine, "acme")
    await acme.fund(10_000_000)
    first = await acme.lease(HOLD, 5_000_000)
    await acme.record([attempt(acme, first, "0.0125"), attempt(acme, first, "0.0300")])
    await acme.record([attempt(acme, first, "0.1750")])
    assert await acme.give_back(first, first.amount - 3 * HOLD) == first.amount - 3 * HOLD
    second = await acme.lease(HOLD, HOLD)
    assert await acme.release_until(timedelta(minutes=10)) == 1
    await acme.record([attempt(acme, second, "0.0250")])
    await post(engine, "rerate", REVENUE, "credits/acme", charged("0.0050"), TransferPurpose.RERATING)
    await post(engine, "mistake", "credits/acme", ADJUSTMENTS, 250_000, TransferPurpose.ADJUSTMENT)
    await post(engine, "free", ALLOWANCES, ALLOWANCE, 50, TransferPurpose.FUNDING)
    globex = CreditLedger(engine, "globex")
    ask = LeaseCredit(tenant="globex", account=ALLOWANCE, need=1, want=1, epoch=EPOCH)
    third = await globex.credit.lease(ask, ROUTER, NOW)
    await globex.record([globex.attempt(third, 1, None)])


async def test_the_worked_month_is_what_the_ledger_does(engine: AsyncEngine) -> None:
    await post_the_month(engine)
    async with engine.begin() as connection:
        found = await connection.execute(
            text("SELECT debit, credit, amount FROM usage_ledger.transfers ORDER BY sequence")
        )
        transfers = [(row.debit, row.credit, row.amount) for row in found]
        absorbed = await connection.scalar(text("SELECT sum(absorbed_micro_usd) FROM usage_ledger.attempts"))
        charges = await connection.scalar(text("SELECT sum(charge_micro_usd) FROM usage_ledger.attempts"))
    leases: dict[str, str] = {}

    def named(account: str) -> str:
        """Return the README's name of a lease, by the order in which the leases were granted."""
        return leases.get(account, account)

    granted = [credit for debit, credit, _ in transfers if credit.startswith(f"{AccountKind.LEASE}/")]
    by_amount = {value: credit for _, credit, value in transfers if credit in granted}
    leases |= {by_amount[2_500_000]: "lease/L1", by_amount[HOLD]: "lease/L2", by_amount[1]: "lease/L3"}
    posted = sorted((named(debit), named(credit), value) for debit, credit, value in transfers)
    written = sorted((row[2].strip("`"), row[3].strip("`"), amount(row[4])) for row in rows_of("no."))
    assert posted == written

    balances: dict[str, int] = {}
    for debit, credit, value in transfers:
        balances[named(debit)] = balances.get(named(debit), 0) - value
        balances[named(credit)] = balances.get(named(credit), 0) + value
    for cells in rows_of("account | balance"):
        for account in re.findall(r"`([^`]+)`", cells[0]):
            assert balances[account] == amount(cells[1]), account
    assert sum(balances.values()) == 0
    assert (charges, absorbed) == (81_200, 3_675)
    assert balances[REVENUE] == charges - charged("0.0050")
