"""Checkout: one page for one order, and each order to its end, whatever fails between."""

import asyncio
from typing import Any

import pytest

from deploy.billing_demo.faults import FailureKind
from keyferry.contracts.purchases import (
    CancelCheckout,
    GetCheckout,
    GetCustomer,
    ListPackages,
    ListPurchases,
    PurchaseState,
)
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import BusError, Refused
from tests.integration.billing.purchases.shop import DEPLOYMENT, TENANT, Shop, checkout

USD_10_MICRO = 10_000_000


def get(purchase: str) -> GetCheckout:
    return GetCheckout(tenant=TENANT, purchase=purchase)


async def test_a_package_is_paid_and_credited_once(shop: Shop) -> None:
    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout())
        assert (made.state, int(made.price_usd), int(made.credits)) == (PurchaseState.OPEN, 10, 10_000)
        answer = await shop.pay(made.url)
        assert answer.headers["location"] == (
            f"http://127.0.0.1:8401/t/acme/credits?purchase={made.purchase}&result=paid"
        )
        for _ in range(3):
            paid = await parts.handlers.get_checkout(get(made.purchase))
            shop.forward(seconds=5)
        assert (paid.state, paid.url) == (PurchaseState.CREDITED, None)
        assert shop.ledger.available == {TENANT: USD_10_MICRO}
        (intent,) = shop.stripe.state.where("payment_intent")
        assert intent["metadata"] == {
            "keyferry_tenant": TENANT,
            "keyferry_deployment": DEPLOYMENT,
            "keyferry_credits_micro_usd": str(USD_10_MICRO),
            "keyferry_purchase": made.purchase,
        }
        recorded = shop.ledger.payments[intent["id"]]
        assert (recorded.amount_micro_usd, recorded.receipt.amount_minor) == (USD_10_MICRO, 1000)


async def test_a_double_click_opens_one_page(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as other:
        pages = await asyncio.gather(
            *(parts.handlers.create_checkout(checkout()) for parts in (one, other) for _ in range(4))
        )
    assert len({page.purchase for page in pages}) == 1
    assert shop.count("checkout.session") == 1
    assert shop.count("customer") == 1


async def test_two_processes_make_one_customer(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as other:
        await asyncio.gather(
            *(
                parts.handlers.create_checkout(checkout(f"click-{number}-{index}"))
                for index, parts in enumerate((one, other))
                for number in range(4)
            )
        )
        found = await one.handlers.get_customer(GetCustomer(tenant=TENANT))
    (customer,) = shop.stripe.state.where("customer")
    assert found.customer == customer["id"]
    assert shop.count("checkout.session") == 8


@pytest.mark.parametrize("path", [r"/v1/customers", r"/v1/checkout/sessions"])
async def test_a_lost_answer_makes_nothing_twice(shop: Shop, path: str) -> None:
    async with shop.process() as parts:
        shop.fail(FailureKind.LOST_ANSWER, path, times=3)
        with pytest.raises(Refused) as caught:
            await parts.handlers.create_checkout(checkout())
        assert caught.value.refusal.code is ErrorCode.UNAVAILABLE
    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout())
    assert made.url is not None
    assert (shop.count("customer"), shop.count("checkout.session")) == (1, 1)


async def test_a_customer_is_found_again_after_the_life_of_the_key(shop: Shop) -> None:
    async with shop.process() as parts:
        shop.fail(FailureKind.LOST_ANSWER, r"/v1/customers", times=3)
        with pytest.raises(Refused):
            await parts.handlers.create_checkout(checkout())
        shop.forward(hours=25)
        await parts.handlers.create_checkout(checkout("later"))
    assert shop.count("customer") == 1


async def test_a_key_is_of_one_order(shop: Shop) -> None:
    async with shop.process() as parts:
        await parts.handlers.create_checkout(checkout())
        with pytest.raises(Refused, match="new key for a new purchase"):
            await parts.handlers.create_checkout(checkout(package="usd-50"))


@pytest.mark.parametrize("step", ["before_recording", "after_recording"])
async def test_a_stop_between_payment_and_credits_loses_nothing(shop: Shop, step: str) -> None:
    def stop() -> None:
        setattr(shop.ledger, step, lambda: None)
        raise BusError("stopped here")

    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout())
        await shop.pay(made.url)
        setattr(shop.ledger, step, stop)
        interrupted = await parts.handlers.get_checkout(get(made.purchase))
        assert interrupted.state is PurchaseState.OPEN, "shown as it was last known"
    async with shop.process() as parts:
        shop.forward(minutes=3)
        await parts.job.work()
        done = await parts.handlers.get_checkout(get(made.purchase))
    assert done.state is PurchaseState.CREDITED
    assert shop.ledger.available == {TENANT: USD_10_MICRO}


async def test_a_payment_whose_webhook_and_browser_never_came_is_credited(shop: Shop) -> None:
    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout())
        await shop.pay(made.url)
        shop.forward(hours=3)
        await parts.job.work()
        (found,) = (await parts.handlers.list_purchases(ListPurchases(tenant=TENANT))).purchases
    assert found.state is PurchaseState.CREDITED
    assert shop.ledger.available == {TENANT: USD_10_MICRO}


async def test_a_page_that_nobody_pays_expires(shop: Shop) -> None:
    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout())
        shop.forward(hours=3)
        await parts.job.work()
        found = await parts.handlers.get_checkout(get(made.purchase))
    assert (found.state, found.url) == (PurchaseState.EXPIRED, None)
    assert shop.ledger.available == {}


async def test_an_order_that_never_reached_stripe_ends(shop: Shop) -> None:
    async with shop.process() as parts:
        shop.fail(FailureKind.SERVER_ERROR, r"/v1/checkout/sessions", times=3)
        with pytest.raises(Refused):
            await parts.handlers.create_checkout(checkout())
        shop.forward(hours=3)
        await parts.job.work()
        again = await parts.handlers.create_checkout(checkout())
    assert again.state is PurchaseState.FAILED
    assert again.reason is not None
    assert "Begin a new purchase" in again.reason
    assert shop.count("checkout.session") == 0


async def test_a_closed_page_cannot_be_paid(shop: Shop) -> None:
    cancel = CancelCheckout
    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout())
        gone = await parts.handlers.cancel_checkout(cancel(tenant=TENANT, purchase=made.purchase))
        assert gone.state is PurchaseState.EXPIRED
        await shop.pay(made.url)
        paid = await parts.handlers.create_checkout(checkout("second"))
        await shop.pay(paid.url)
        with pytest.raises(Refused, match="cannot be cancelled"):
            await parts.handlers.cancel_checkout(cancel(tenant=TENANT, purchase=paid.purchase))
    assert shop.ledger.available == {TENANT: USD_10_MICRO}


async def test_any_other_amount_within_the_bounds_is_sold(shop: Shop) -> None:
    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout(price_usd="12.34"))
        await shop.pay(made.url)
        done = await parts.handlers.get_checkout(get(made.purchase))
        assert (int(done.credits), done.package) == (12_340, None)
        for price in ("4.99", "5000.01"):
            with pytest.raises(Refused, match="must be 5 to 5000 dollars"):
                await parts.handlers.create_checkout(checkout(f"p-{price}", price_usd=price))
        with pytest.raises(Refused, match="the packages are usd-10, usd-50, usd-100"):
            await parts.handlers.create_checkout(checkout("none", package="usd-11"))
    assert shop.ledger.available == {TENANT: 12_340_000}


async def test_without_a_key_of_stripe_nothing_is_sold_and_that_is_said(shop: Shop) -> None:
    shop.secrets.key = None
    async with shop.process() as parts:
        listed = await parts.handlers.list_packages(ListPackages(tenant=TENANT))
        assert not listed.configured
        assert listed.detail is not None
        assert [package.saving_percent for package in listed.packages] == [0, 9, 16]
        with pytest.raises(Refused, match="takes no payments"):
            await parts.handlers.create_checkout(checkout())


async def test_a_key_that_stripe_refuses_is_an_operators_matter(shop: Shop) -> None:
    shop.secrets.key = "sk_test_of_another_account"
    async with shop.process() as parts:
        with pytest.raises(Refused, match="an operator has to rotate it") as caught:
            await parts.handlers.create_checkout(checkout())
    assert "sk_test" not in str(caught.value)


@pytest.mark.parametrize(("values", "code"), [({"suspended": True}, ErrorCode.CONFLICT), (None, ErrorCode.NOT_FOUND)])
async def test_a_tenant_that_may_not_buy_is_refused(shop: Shop, values: dict[str, Any] | None, code: ErrorCode) -> None:
    if values is None:
        shop.tenants.entries.clear()
    else:
        shop.add_tenant(**values)
    async with shop.process() as parts:
        with pytest.raises(Refused) as caught:
            await parts.handlers.create_checkout(checkout())
    assert caught.value.refusal.code is code


async def test_a_purchase_of_another_tenant_is_not_found(shop: Shop) -> None:
    async with shop.process() as parts:
        made = await parts.handlers.create_checkout(checkout())
        with pytest.raises(Refused, match="has no purchase"):
            await parts.handlers.get_checkout(GetCheckout(tenant="other", purchase=made.purchase))
