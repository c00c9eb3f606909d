"""What is sold, what it costs, and how a price at Stripe may differ."""

from decimal import Decimal
from typing import Any

import pytest

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.tenancy import Tier
from services.billing.purchases.catalog import OfferCatalog
from services.billing.purchases.offers import Offer, TierOffer, offer_for_price, offers, packages, tier_offers
from services.billing.purchases.rule_violation import PurchaseRefused

TEXT = BUNDLED_PLAN.read_text(encoding="utf-8")
PLAN = BillingPlan.parse(TEXT)
CATALOG = OfferCatalog("kf.1")
TEN = Offer("usd-10", 1000, 10_000)


def test_packages_show_what_their_credits_cost() -> None:
    shown = [(each.package, each.usd_per_1000_credits, each.saving_percent) for each in packages(PLAN)]
    assert shown == [
        ("usd-10", Decimal("1.0000"), 0),
        ("usd-50", Decimal("0.9091"), 9),
        ("usd-100", Decimal("0.8333"), 16),
    ]


def test_a_payment_of_a_packages_price_buys_the_package() -> None:
    assert offer_for_price(PLAN, Decimal(50)) == Offer("usd-50", 5000, 55_000)
    assert offer_for_price(PLAN, Decimal("49.99")) == Offer(None, 4999, 49_990)


def test_without_bounds_only_packages_are_sold() -> None:
    bare = BillingPlan.parse(TEXT[: TEXT.index("# The bounds of a payment")])
    assert tier_offers(bare) == []
    with pytest.raises(PurchaseRefused, match="10, 50, 100 dollars"):
        offer_for_price(bare, Decimal(20))


def test_names_of_prices_differ_by_all_that_may_change() -> None:
    sold: list[Offer | TierOffer] = [*offers(PLAN), *tier_offers(PLAN), Offer("usd-10", 1000, 11_000)]
    keys = {OfferCatalog(deployment).lookup_key(each) for deployment in ("a", "b") for each in sold}
    assert len(keys) == 2 * len(sold)
    assert max(map(len, keys)) < 200


def as_stripe_has_it(offer: Offer | TierOffer, **changes: Any) -> dict[str, Any]:
    price = {**CATALOG.price_params(offer), "active": True, **changes}
    return {"recurring": None, **price}


@pytest.mark.parametrize("offer", [TEN, TierOffer(Tier.PROFESSIONAL, 4900)])
def test_a_price_as_it_was_made_does_not_differ(offer: Offer | TierOffer) -> None:
    assert CATALOG.difference(offer, as_stripe_has_it(offer)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit_amount": 999}, "the amount is 999 and should be 1000"),
        ({"currency": "eur"}, "the currency is eur"),
        ({"product": "prod_other"}, "the product is prod_other"),
        ({"metadata": {}}, "keyferry_credits_micro_usd is None and should be 10000000"),
        ({"recurring": {"interval": "month"}}, "the interval is month and should be None"),
    ],
)
def test_every_difference_is_said(changes: dict[str, Any], said: str) -> None:
    found = CATALOG.difference(TEN, as_stripe_has_it(TEN, **changes))
    assert found is not None
    assert said in found
