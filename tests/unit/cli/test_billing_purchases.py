"""What `keyferry billing` prints about packages, purchases, top-ups and subscriptions."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from click.testing import CliRunner

from keyferry.cli.billing import command
from keyferry.cli.billing_purchases import describe_purchase, describe_top_up
from keyferry.cli.billing_subscriptions import describe_subscription
from keyferry.contracts.purchases import Purchase, PurchaseKind, PurchaseState, TopUp, TopUpState
from keyferry.contracts.subscriptions import Subscription, SubscriptionOffer, SubscriptionState
from keyferry.contracts.tenancy import Tier

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


def purchase(**values: Any) -> Purchase:
    given = {
        "purchase": "pur_1",
        "tenant": "acme",
        "kind": PurchaseKind.CHECKOUT,
        "price_usd": Decimal(10),
        "credits": Decimal(10_000),
        "state": PurchaseState.OPEN,
        "url": "https://checkout.stripe.test/c/1",
        "expires_at": AT,
        "created_at": AT,
        "actor": "operator",
    }
    return Purchase(**{**given, **values})


def test_an_open_purchase_shows_where_to_pay() -> None:
    lines = describe_purchase(purchase())
    assert lines[0] == "pur_1: 10000 credits for $10"
    assert lines[2].startswith("  pay at   https://checkout.stripe.test/c/1 (until 2026-11-30")


def test_a_purchase_that_cannot_be_paid_says_why() -> None:
    lines = describe_purchase(purchase(state=PurchaseState.EXPIRED, reason="It was not paid in time."))
    assert lines[1:] == ["  state    expired: It was not paid in time."]


def test_a_top_up_shows_its_terms_and_why_it_is_paused() -> None:
    found = TopUp(
        tenant="acme",
        configured=True,
        enabled=True,
        threshold=Decimal(5000),
        price_usd=Decimal(50),
        credits=Decimal(55_000),
        monthly_ceiling_usd=Decimal(200),
        state=TopUpState.PAUSED,
        reason="The card has expired.",
        spent_this_month_usd=Decimal(50),
        month_ends_at=AT,
        revision=2,
    )
    lines = describe_top_up(found)
    assert lines[0] == "acme pays $50 for 55000 credits when 5000 or fewer are available"
    assert lines[1] == "  state    paused: The card has expired."
    assert "$50 of $200" in lines[2]
    assert lines[3] == "  charges  no saved payment method"


def test_without_payments_a_top_up_says_so() -> None:
    lines = describe_top_up(TopUp(tenant="acme", configured=False, state=TopUpState.OFF, month_ends_at=AT))
    assert lines == ["acme has no automatic top-up", "  state    off (this installation takes no payments)"]


def test_a_subscription_shows_what_is_paid_and_what_applies() -> None:
    found = Subscription(
        tenant="acme",
        configured=True,
        offers=[SubscriptionOffer(tier=Tier.PROFESSIONAL, price_usd=Decimal(49))],
        state=SubscriptionState.ACTIVE,
        tier=Tier.PROFESSIONAL,
        tier_of_tenant=Tier.ENTERPRISE,
        set_by_operator=True,
        detail="An operator has set the tier.",
    )
    assert describe_subscription(found) == [
        "acme pays for professional (active); its tier is enterprise",
        "  note     An operator has set the tier.",
        "  sold     professional for $49 a month",
    ]


def test_a_purchase_is_of_a_package_or_of_an_amount() -> None:
    for arguments in (["buy", "acme"], ["buy", "acme", "usd-10", "--amount", "20"]):
        answer = CliRunner().invoke(command, arguments)
        assert answer.exit_code == 2
        assert "either a package" in answer.output
