"""The billing file: strict parsing, and what is asked of it."""

from decimal import Decimal

import pytest

from keyferry.billing.plan import BUNDLED_PLAN, BadBillingFile, BillingPlan
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import Tier
from keyferry.runtime.billing import load_plan
from keyferry.runtime.process.settings import SettingsError

TEXT = BUNDLED_PLAN.read_text(encoding="utf-8")
PLAN = BillingPlan.parse(TEXT)


@pytest.mark.parametrize(
    ("tier", "shares"),
    [
        (Tier.FREE, ("0.1", "0.25", "1")),
        (Tier.STARTER, ("0.14", "0.35", "1.4")),
        (Tier.PROFESSIONAL, ("0.16", "0.4", "1.6")),
        (Tier.ENTERPRISE, ("0.18", "0.45", "1.8")),
    ],
)
def test_the_bundled_plan_charges_the_promised_shares_of_the_cost(tier: Tier, shares: tuple[str, ...]) -> None:
    assert tuple(PLAN.share_of_cost(level, tier) for level in PowerLevel) == tuple(map(Decimal, shares))


def test_an_unknown_level_or_tier_counts_as_one() -> None:
    assert PLAN.share_of_cost(None, None) == 1
    assert PLAN.share_of_cost(None, Tier.STARTER) == Decimal("1.4")
    assert PLAN.share_of_cost(PowerLevel.ECO, None) == Decimal("0.1")


def test_plans_below_cost_are_listed_and_a_floor_leaves_none() -> None:
    below = PLAN.below_cost()
    assert len(below) == 8
    assert {each.level for each in below} == {PowerLevel.ECO, PowerLevel.BALANCED}
    assert str(below[-2]) == "enterprise eco charges 0.18 of the cost"
    floored = BillingPlan.parse(TEXT.replace("floor = false", "floor = true"))
    assert floored.below_cost() == ()
    assert floored.share_of_cost(PowerLevel.ECO, Tier.ENTERPRISE) == 1
    assert floored.share_of_cost(PowerLevel.PRECISION, Tier.ENTERPRISE) == Decimal("1.8")


def test_only_the_free_tier_has_free_requests() -> None:
    assert PLAN.allowance(Tier.FREE) == (50, 45)
    assert [PLAN.allowance(tier) for tier in Tier if tier is not Tier.FREE] == [None] * 3


@pytest.mark.parametrize(
    ("price_usd", "bought"),
    [
        ("10", 10_000),
        ("50", 55_000),
        ("100", 120_000),
        ("100.00", 120_000),
        ("7", 7000),
        ("99.999", 99_999),
        ("0.0019", 1),
    ],
)
def test_credits_of_a_payment(price_usd: str, bought: int) -> None:
    assert PLAN.credits_for(Decimal(price_usd)) == bought


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('version = "2026-11-30"\n', "", "version: this is required"),
        ('version = "2026-11-30"', 'version = "a\\u0000b"', "version"),
        ("eco = 0.1\n", "", "multipliers.eco: this is required"),
        ("eco = 0.1\n", "eco = 0.1\nturbo = 1\n", "multipliers.turbo: there is no such field"),
        ("eco = 0.1", "eco = -0.1", "multipliers.eco"),
        ("eco = 0.1", "eco = nan", "multipliers.eco"),
        ("eco = 0.1", "eco = inf", "multipliers.eco"),
        ("eco = 0.1", "eco = true", "multipliers.eco"),
        ("eco = 0.1", 'eco = "0.1"', "multipliers.eco"),
        ("eco = 0.1", "eco = 0.0000001", "multipliers.eco"),
        ("eco = 0.1", "eco = 1e99", "multipliers.eco"),
        ("eco = 0.1", "eco = 1e-999999999", "multipliers.eco"),
        ("markup_percent = 40\n", "", "starter.markup_percent: this is required"),
        ("markup_percent = 40", "markup_percent = 0.00001", "starter.markup_percent"),
        ("byok_fee_micro_usd = 0", "byok_fee_micro_usd = 0.5", "byok_fee_micro_usd"),
        ("byok_fee_micro_usd = 0", "byok_fee_micro_usd = -1", "byok_fee_micro_usd"),
        ("floor = false", "floor = 0", "floor"),
        ("notice_from = 45\n", "", "free: notice_from must be"),
        ("notice_from = 45", "notice_from = 51", "free: notice_from must be"),
        ("monthly_free_requests = 50", "monthly_free_requests = 0", "free: notice_from without"),
        ("price_usd = 50", "price_usd = 10", "two packages have the same price"),
        ("price_usd = 50", "price_usd = 0", "package.1.price_usd"),
        ("[enterprise]", "[platinum]", "enterprise: this is required"),
        ("from_usd = 5\n", "", "custom_amount.from_usd: this is required"),
        ("from_usd = 5\n", "from_usd = 0\n", "custom_amount.from_usd"),
        ("to_usd = 5000", "to_usd = 4", "custom_amount: to_usd is below from_usd"),
        ("grace_days = 7", "grace_days = -1", "subscriptions.grace_days"),
        ('without = "starter"', 'without = "gold"', "subscriptions.without"),
        ('tier = "enterprise"', 'tier = "professional"', "two subscriptions to professional"),
        ('tier = "enterprise"', 'tier = "starter"', "there is no subscription to starter"),
        ("price_usd = 499", "price_usd = 48", "the price of enterprise is not above that of professional"),
        ("[free]", "[free", "it is not TOML"),
    ],
)
def test_an_invalid_billing_file_is_rejected_with_its_fault(old: str, new: str, fault: str) -> None:
    assert old in TEXT
    with pytest.raises(BadBillingFile) as caught:
        BillingPlan.parse(TEXT.replace(old, new, 1))
    assert fault in str(caught.value)


def test_a_billing_file_that_cannot_be_read_names_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml.*KEYFERRY_BILLING_FILE"):
        load_plan(BUNDLED_PLAN.with_name("missing.toml"))


def test_what_is_sold_may_be_left_out() -> None:
    bare = BillingPlan.parse(TEXT[: TEXT.index("# 1000 credits are")])
    assert (bare.packages, bare.custom_amount, bare.subscriptions) == ((), None, None)


def test_subscriptions_are_in_the_order_of_their_tiers() -> None:
    subscriptions = PLAN.subscriptions
    assert subscriptions is not None
    assert [(offer.tier, offer.price_usd) for offer in subscriptions.offer] == [
        (Tier.PROFESSIONAL, 49),
        (Tier.ENTERPRISE, 499),
    ]
    assert (subscriptions.without, subscriptions.grace_days) == (Tier.STARTER, 7)
