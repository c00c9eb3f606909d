"""The lines of a request's cost add up to what was recorded, and are left out where they would not."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.request_log import CostArithmetic, CostLine
from keyferry.contracts.usage import KeySource, LedgerRow, TokenUsage
from keyferry.pricing.tariff import Rate, Tariff
from services.usage_ledger.charging import bill
from services.usage_ledger.pricing import price
from services.usage_ledger.request_log.arithmetic import explain_cost
from tests.support.ledger.attempt_records import attempt_record

MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLAN = BillingPlan.parse(
    BUNDLED_PLAN.read_text(encoding="utf-8").replace("byok_fee_micro_usd = 0", "byok_fee_micro_usd = 700")
)
TARIFF = Tariff({"input": Rate(2_500_000, ((1000, 5_000_000),)), "output": Rate(10_000_000)}, per_request=3_000_000_000)


class OnePrice:
    """Knows one model's tariff, and only if it is asked for as the ledger asks."""

    def __init__(self, tariff: Tariff = TARIFF, version: str = "v1", model: str = "m-served") -> None:
        self.tariff, self.version, self.model = tariff, version, model

    def find_first(
        self, provider: str, models: Any, moment: datetime, service_tier: str | None = None
    ) -> tuple[Tariff, str] | None:
        asked = (provider, moment, service_tier) == ("openai", MOMENT, "flex") and self.model in models
        return (self.tariff, self.version) if asked else None


def row(**fields: Any) -> LedgerRow:
    record = attempt_record(
        **{
            "provider": "openai",
            "model": "m",
            "model_served": "m-served",
            "service_tier": "flex",
            "key_source": KeySource.PLATFORM,
            "tier": "starter",
            "charged_level": "balanced",
            "token_usage": TokenUsage(input=2000, output=10),
            "started_at": MOMENT,
            **fields,
        }
    )
    found = price(record, OnePrice())
    unbilled = LedgerRow(
        record=record, cost_usd=found.cost_usd, price_version=found.version, pricing=found.pricing, recorded_at=MOMENT
    )
    billed = bill(unbilled, found, PLAN)
    return billed.model_copy(update={"charge_micro_usd": 35, "absorbed_micro_usd": 7, "spend_micro_usd": 9})


def test_every_line_is_tokens_times_rate_and_all_add_up() -> None:
    recorded = row()
    found = explain_cost(recorded, OnePrice(), PLAN)
    assert found == CostArithmetic(
        attempt_id=recorded.record.attempt_id,
        pricing="priced",
        lines=[
            CostLine(kind="input", tokens=2000, usd_per_million=Decimal(5), cost_usd=Decimal("0.01")),
            CostLine(kind="output", tokens=10, usd_per_million=Decimal(10), cost_usd=Decimal("0.0001")),
        ],
        per_request_usd=Decimal("0.003"),
        price_version="v1",
        cost_usd=Decimal("0.0131"),
        tier="starter",
        charged_level="balanced",
        multiplier=PLAN.multipliers[recorded.record.charged_level],  # type: ignore[index]  # set above
        markup_percent=PLAN.markups_percent[recorded.record.tier],  # type: ignore[index]  # set above
        factor=Decimal("0.35"),
        plan_version=PLAN.version,
        charge_micro_usd=35,
        absorbed_micro_usd=7,
        spend_micro_usd=9,
    )
    assert found.per_request_usd is not None
    assert sum((line.cost_usd for line in found.lines), found.per_request_usd) == found.cost_usd


@pytest.mark.parametrize(
    "prices",
    [
        OnePrice(version="v2"),
        OnePrice(Tariff({"input": Rate(1), "output": Rate(1)})),
        OnePrice(model="another"),
    ],
    ids=["another version", "another cost", "no price"],
)
def test_lines_that_do_not_give_the_recorded_cost_are_left_out(prices: OnePrice) -> None:
    found = explain_cost(row(), prices, PLAN)
    assert (found.lines, found.per_request_usd, found.cost_usd) == ([], None, Decimal("0.0131"))


def test_the_model_that_was_asked_for_gives_the_price_if_none_was_named_in_the_answer() -> None:
    recorded = row().model_copy(update={"record": row(model="m-served", model_served=None).record})
    assert len(explain_cost(recorded, OnePrice(), PLAN).lines) == 2


def test_an_attempt_without_a_price_has_no_lines() -> None:
    unpriced = row().model_copy(update={"pricing": "unpriced"})
    assert explain_cost(unpriced, OnePrice(), PLAN).lines == []


def test_a_price_without_a_fee_per_request_shows_none() -> None:
    tariff = Tariff({"input": Rate(1), "output": Rate(1)})
    recorded = row().model_copy(update={"cost_usd": tariff.cost(TokenUsage(input=2000, output=10))})
    found = explain_cost(recorded, OnePrice(tariff), PLAN)
    assert (len(found.lines), found.per_request_usd) == (2, None)


def test_an_own_key_has_the_fee_in_place_of_a_factor() -> None:
    found = explain_cost(row(key_source=KeySource.BYOK), OnePrice(), PLAN)
    assert (found.fee_micro_usd, found.factor, found.multiplier, found.markup_percent) == (700, None, None, None)


def test_terms_are_left_out_if_nothing_was_charged_or_the_plan_has_changed() -> None:
    for changes in ({"charge_micro_usd": None}, {"plan_version": "another"}):
        found = explain_cost(row().model_copy(update=changes), OnePrice(), PLAN)
        assert (found.factor, found.multiplier, found.markup_percent, found.fee_micro_usd) == (None,) * 4


def test_a_level_or_tier_that_is_not_known_has_no_number_and_the_factor_is_that_of_the_other() -> None:
    found = explain_cost(row(tier=None, charged_level=None), OnePrice(), PLAN)
    assert (found.multiplier, found.markup_percent, found.factor) == (None, None, Decimal(1))
