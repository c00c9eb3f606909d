"""What a re-rating makes of attempts, and who bears it."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import AttemptRecord, KeySource, TokenUsage
from keyferry.pricing.file import PriceList
from services.usage_ledger.charges.rerating import AttemptRating, Correction, RatedAnew, bear, net_charge
from tests.support.ledger.attempt_records import attempt_record

PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8"))
PRICES = PriceList.parse(
    'version = "new"\neffective = 2026-01-01\n[[price]]\nprovider = "openai"\nmodel = "m"\ninput = 2\noutput = 8\n'
)


def attempt(account: str | None = "credits/acme", **fields: object) -> AttemptRecord:
    holds = [] if account is None else [Hold(lease_id="lse_1", account=account, amount=100)]
    values: dict[str, object] = {
        "provider": "openai",
        "model": "m",
        "key_source": KeySource.PLATFORM,
        "tier": Tier.STARTER,
        "charged_level": "precision",
        "token_usage": TokenUsage(input=100, output=100),
        "reservation": Reservation(holds=holds, not_after_unix_ms=1) if holds else None,
    }
    return attempt_record(**(values | fields))


def rating(charge: int | None = None, absorbed: int = 0, cost: str = "0.0001") -> AttemptRating:
    return AttemptRating(Decimal(cost), "old", "priced", "old", charge, absorbed, 100)


def corrected(record: AttemptRecord, before: AttemptRating) -> AttemptRating | None:
    found = RatedAnew()
    found.add(record, before, PRICES, PLAN)
    return found.corrections[0].after if found.corrections else None


@pytest.mark.parametrize(
    ("charge", "absorbed", "paid", "borne"),
    [
        # 100 x 2 + 100 x 8 = 1000 micro-dollars; x 1 x 1.4 = 1400.
        (140, 0, 1400, 0),
        (100, 40, 1360, 40),
        (2800, 0, 1400, 0),
        (1000, 900, 1000, 400),
        (0, 2000, 0, 1400),
        (5000, 100, 1400, 0),
    ],
)
def test_the_platform_bears_what_it_bore_and_no_more(charge: int, absorbed: int, paid: int, borne: int) -> None:
    after = corrected(attempt(), rating(charge, absorbed))
    assert after == AttemptRating(Decimal("0.001"), "new", "priced", PLAN.version, paid, borne, paid)


def test_what_is_as_it_should_be_is_not_corrected() -> None:
    assert corrected(attempt(), rating(1400, 0, "0.001")) is None


def test_an_attempt_that_was_not_charged_gets_a_cost_and_no_charge() -> None:
    assert corrected(attempt(None), rating(None)) == AttemptRating(
        Decimal("0.001"), "new", "priced", PLAN.version, None, 0, 1400
    )
    free = corrected(attempt("allowance/acme/2026-11"), rating(0))
    assert free is not None
    assert (free.cost_usd, free.charge_micro_usd) == (Decimal("0.001"), 0)


@pytest.mark.parametrize(
    "fields", [{"model": "unlisted"}, {"outcome": "indeterminate"}, {"token_usage": TokenUsage(audio=1)}]
)
def test_what_has_no_price_now_stays(fields: dict[str, object]) -> None:
    found = RatedAnew()
    found.add(attempt("credits/acme", **fields), rating(140), PRICES, PLAN)
    assert (found.examined, found.unknown, found.corrections) == (1, 1, [])


def test_a_cost_that_no_table_holds_stays_out() -> None:
    found = RatedAnew()
    found.add(attempt(token_usage=TokenUsage(input=2**63 - 1)), rating(140), PRICES, PLAN)
    assert (found.unknown, found.corrections) == (1, [])


def correction(before: int, after: int, number: int = 0) -> Correction:
    return Correction(f"att_{number}", rating(before), replace(rating(after), price_version="new"))


def test_refunds_come_first_and_what_is_lacking_is_absorbed() -> None:
    asked = [correction(100, 160, 1), correction(100, 70, 2), correction(100, 200, 3)]
    borne = bear(asked, available_micro_usd=50)
    # 50 and the refund of 30 are there: 60 for the first, 20 for the third, of which 80 is lacking.
    assert [each.after.charge_micro_usd for each in borne] == [160, 70, 120]
    assert [each.after.absorbed_micro_usd for each in borne] == [0, 0, 80]
    assert net_charge(borne) == 50
    assert bear(asked, available_micro_usd=10_000) == asked


def test_no_balance_is_overdrawn_and_nothing_is_lost() -> None:
    rng = random.Random(7)
    for _ in range(500):
        asked = [correction(rng.randrange(300), rng.randrange(300), number) for number in range(rng.randrange(12))]
        available = rng.choice((0, rng.randrange(500)))
        borne = bear(asked, available)
        assert net_charge(borne) <= available
        for before, after in zip(asked, borne, strict=True):
            full = before.after.charge_micro_usd, before.after.absorbed_micro_usd
            shared = after.after.charge_micro_usd, after.after.absorbed_micro_usd
            assert sum(filter(None, full)) == sum(filter(None, shared))
            assert (after.after.charge_micro_usd or 0) >= min(before.before.charge_micro_usd or 0, full[0] or 0)


def test_what_was_examined_and_what_has_no_price_is_counted() -> None:
    found = RatedAnew()
    before, unknown = rating(140), attempt(model="unlisted")
    for record in (attempt(attempt_id="att_first"), unknown, attempt(attempt_id="att_other"), unknown):
        found.add(record, before, PRICES, PLAN)
    assert (found.examined, found.unknown) == (4, 2)
    assert [(each.attempt_id, each.before) for each in found.corrections] == [
        ("att_first", before),
        ("att_other", before),
    ]


def test_an_attempt_that_costs_nothing_now_is_paid_back_in_full() -> None:
    failed = attempt(outcome="failed", token_usage=TokenUsage(), first_token_ms=None)
    after = corrected(failed, rating(140, 10))
    assert after == AttemptRating(Decimal(0), None, "free", PLAN.version, 0, 0, 0)


def test_the_first_cost_that_no_table_holds_stays_out() -> None:
    prices = PriceList.parse(
        'version = "new"\neffective = 2026-01-01\n[[price]]\nprovider = "openai"\nmodel = "m"\ninput = 1000000\n'
    )
    for tokens, unknown in ((10**12 - 1, 0), (10**12, 1)):
        found = RatedAnew()
        record = attempt(token_usage=TokenUsage(input=tokens))
        found.add(record, rating(140), prices, PLAN)
        assert (found.unknown, len(found.corrections)) == (unknown, 1 - unknown)
