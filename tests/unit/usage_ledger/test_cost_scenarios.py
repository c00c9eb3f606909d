"""Every row of `cost_scenarios.md`: its arithmetic, and what the ledger makes of such an attempt."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import floor
from pathlib import Path
from typing import NamedTuple

import pytest

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.usage import AttemptRecord, LedgerRow, Outcome, TokenUsage, UsageSource
from keyferry.pricing.file import BUNDLED_PRICES, PriceList
from keyferry.runtime.prices import load_prices
from services.usage_ledger.charging import LARGEST_AMOUNT_MICRO_USD, bill, billed_values
from services.usage_ledger.pricing import Price, price
from tests.support.ledger.attempt_records import attempt_record

TABLE = Path(__file__).with_name("cost_scenarios.md").read_text(encoding="utf-8")
MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLAN_TEXT = BUNDLED_PLAN.read_text(encoding="utf-8")
ACCOUNTS = {"credits": "credits/acme", "allowance": "allowance/acme/2026-11", "budget": "budget/bud_1/2026-11-01"}


class Scenario(NamedTuple):
    """A row of the table."""

    attempt: str
    tokens: str
    cost: str
    terms: str
    holds: str
    charge: str
    pays: str
    bears: str
    counts: str


SCENARIOS = [
    Scenario(*(cell.strip() for cell in line.strip("|").split("|")))
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| attempt")
]


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return load_prices(BUNDLED_PRICES)


@cache
def plan_of(fee: str, floors: bool) -> BillingPlan:
    text = PLAN_TEXT.replace("byok_fee_micro_usd = 0", f"byok_fee_micro_usd = {fee}")
    return BillingPlan.parse(text.replace("floor = false", "floor = true") if floors else text)


def plan_in(terms: str) -> BillingPlan:
    fee = re.search(r"fee (\d+)", terms)
    return plan_of("0" if fee is None else fee[1], "floor" in terms)


def record_of(scenario: Scenario) -> AttemptRecord:
    match = re.fullmatch(r"(\S+) (\S+)(?: @(\S+))?(?: \((\w+)\))?", scenario.attempt)
    assert match is not None
    provider, model, service_tier, outcome = match.groups()
    counts = {} if scenario.tokens == "none" else dict(part.split() for part in scenario.tokens.split(", "))
    source, level, tier = (None if term == "-" else term for term in scenario.terms.split()[:3])
    account, _, amount = scenario.holds.partition(" ")
    hold = None if account == "none" else Hold(lease_id="lse_1", account=ACCOUNTS[account], amount=int(amount))
    return attempt_record(
        provider=provider,
        model=model,
        service_tier=service_tier,
        key_source=source,
        charged_level=level,
        tier=tier,
        outcome=outcome or "completed",
        token_usage=TokenUsage.model_validate({kind: int(count) for kind, count in counts.items()}),
        usage_source=UsageSource.REPORTED if counts else UsageSource.NONE,
        first_token_ms=5 if counts else None,
        reservation=None if hold is None else Reservation(holds=[hold], not_after_unix_ms=1),
        started_at=MOMENT,
    )


def billed(record: AttemptRecord, prices: PriceList, plan: BillingPlan) -> LedgerRow:
    found = price(record, prices)
    row = LedgerRow(
        record=record, cost_usd=found.cost_usd, price_version=found.version, pricing=found.pricing, recorded_at=MOMENT
    )
    return bill(row, found, plan)


def evaluate(expression: str) -> Fraction:
    """Return the value of a sum of products."""
    total = Fraction(0)
    for product in expression.split(" + "):
        value = Fraction(1)
        for factor in product.split(" x "):
            value *= Fraction(factor)
        total += value
    return total


def amount(cell: str) -> int | None:
    return None if cell == "-" else int(cell)


def test_there_are_more_than_a_hundred_scenarios() -> None:
    assert len(SCENARIOS) >= 120
    assert len(set(SCENARIOS)) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_arithmetic_of_a_scenario_is_right(scenario: Scenario) -> None:
    tokens = [] if scenario.tokens == "none" else [part.split()[1] for part in scenario.tokens.split(", ")]
    if scenario.cost != "unknown":
        left, _, cost = scenario.cost.partition(" = ")
        assert evaluate(left) == Fraction(cost)
        # A fee per request comes before the tokens.
        counts = [product.partition(" x ")[0] for product in left.split(" + ")]
        assert counts[len(counts) - len(tokens) :] == tokens
    if " x " in scenario.charge:
        left, _, result = scenario.charge.partition(" = ")
        exact, _, rounded = result.partition(" -> ")
        assert left.startswith(f"{scenario.cost.partition(' = ')[2]} x ")
        assert evaluate(left) == Fraction(exact)
        assert int(rounded or exact) == floor(Fraction(exact) + Fraction(1, 2))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_ledger_charges_a_scenario_as_written(scenario: Scenario, prices: PriceList) -> None:
    plan = plan_in(scenario.terms)
    row = billed(record_of(scenario), prices, plan)
    if scenario.cost == "unknown":
        assert row.cost_usd is None
    else:
        assert row.cost_usd is not None
        assert Fraction(row.cost_usd) * 10**6 == Fraction(scenario.cost.partition(" = ")[2])
        assert row.price_version is not None or row.pricing == "free"
    assert row.charge_micro_usd == amount(scenario.pays)
    assert row.absorbed_micro_usd == amount(scenario.bears)
    assert row.spend_micro_usd == amount(scenario.counts)
    known = (row.charge_micro_usd, row.spend_micro_usd) != (None, None)
    assert row.plan_version == (plan.version if known else None)
    assert row.record.unkept == []


def test_what_is_paid_and_borne_is_the_whole_charge_in_every_scenario(prices: PriceList) -> None:
    for scenario in SCENARIOS:
        row = billed(record_of(scenario), prices, plan_in(scenario.terms))
        if row.charge_micro_usd is not None and scenario.holds.startswith("credits") and " x " in scenario.charge:
            full = int(re.split(" = | -> ", scenario.charge)[-1])
            assert row.charge_micro_usd + row.absorbed_micro_usd == full


def test_absurd_counts_are_charged_as_much_as_an_account_can_hold_and_marked(prices: PriceList) -> None:
    record = attempt_record(
        provider="openai",
        model="o1",
        key_source="platform",
        token_usage=TokenUsage(output=2**63 - 1),
        started_at=MOMENT,
        reservation=Reservation(
            holds=[Hold(lease_id="lse_1", account="credits/acme", amount=700)], not_after_unix_ms=1
        ),
    )
    row = billed(record, prices, plan_of("0", floors=False))
    assert (row.charge_micro_usd, row.spend_micro_usd) == (700, 700)
    assert row.absorbed_micro_usd == LARGEST_AMOUNT_MICRO_USD
    assert row.record.unkept == ["absorbed_micro_usd"]
    unheld = billed(record.model_copy(update={"reservation": None}), prices, plan_of("0", floors=False))
    assert (unheld.charge_micro_usd, unheld.spend_micro_usd) == (None, LARGEST_AMOUNT_MICRO_USD)
    assert unheld.record.unkept == ["spend_micro_usd"]


def test_the_largest_amount_that_an_account_can_hold_is_kept_as_it_is() -> None:
    record = attempt_record(provider="openai", model="o1", key_source="platform", started_at=MOMENT)
    largest = Price("priced", Decimal(10**9), "v")
    row = LedgerRow(record=record, cost_usd=largest.cost_usd, price_version="v", pricing="priced", recorded_at=MOMENT)
    kept = bill(row, largest, plan_of("0", floors=False))
    assert (kept.spend_micro_usd, kept.record.unkept) == (LARGEST_AMOUNT_MICRO_USD, [])
    assert billed_values(record, largest, plan_of("0", floors=False))["record"] is record
    cut = bill(row, largest._replace(cost_usd=Decimal(10**9 + 1)), plan_of("0", floors=False))
    assert (cut.spend_micro_usd, cut.record.unkept) == (LARGEST_AMOUNT_MICRO_USD, ["spend_micro_usd"])


def test_two_holds_on_credits_add_up(prices: PriceList) -> None:
    holds = [Hold(lease_id=f"lse_{number}", account="credits/acme", amount=30) for number in range(2)]
    record = attempt_record(
        provider="openai",
        model="gpt-4o-mini",
        key_source="platform",
        outcome=Outcome.COMPLETED,
        token_usage=TokenUsage(input=1000),
        started_at=MOMENT,
        reservation=Reservation(holds=holds, not_after_unix_ms=1),
    )
    row = billed(record, prices, plan_of("0", floors=False))
    assert (row.charge_micro_usd, row.absorbed_micro_usd) == (60, 90)
