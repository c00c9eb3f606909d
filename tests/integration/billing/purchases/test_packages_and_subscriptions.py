"""Packages at Stripe, compared on both sides; and subscriptions, whose tier is applied unless an operator has set one."""

import asyncio

import pytest

from deploy.billing_demo.faults import FailureKind
from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.erasure import EraseTenant
from keyferry.contracts.purchases import SyncAction, SyncPackages
from keyferry.contracts.subscriptions import (
    CancelSubscription,
    ChangeSubscription,
    GetSubscription,
    StartSubscription,
    Subscription,
    SubscriptionState,
)
from keyferry.contracts.tenancy import Tier, TierSource
from keyferry.runtime.bus.requests import Refused
from services.billing.purchases.assembly import PurchaseParts
from tests.integration.billing.purchases.shop import TENANT, Shop, checkout

OTHER_PLAN = BillingPlan.parse(BUNDLED_PLAN.read_text(encoding="utf-8").replace("credits = 55_000", "credits = 56_000"))


def actions(prices: list[tuple[str, SyncAction]], action: SyncAction) -> list[str]:
    return [name for name, found in prices if found is action]


async def sync(parts: PurchaseParts, *, dry_run: bool = False) -> list[tuple[str, SyncAction]]:
    report = await parts.handlers.sync_packages(SyncPackages(dry_run=dry_run))
    return [(price.lookup_key, price.action) for price in report.prices]


async def test_a_sync_makes_prices_once_and_a_dry_run_makes_none(shop: Shop) -> None:
    async with shop.process() as parts:
        assert {action for _, action in await sync(parts, dry_run=True)} == {SyncAction.CREATED}
        assert shop.count("price") == 0
        assert {action for _, action in await sync(parts)} == {SyncAction.CREATED}
        assert {action for _, action in await sync(parts)} == {SyncAction.UNCHANGED}
        assert shop.count("price", active=True) == 5


async def test_syncs_at_the_same_time_make_each_price_once(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as two:
        await asyncio.gather(sync(one), sync(two), sync(one))
    assert (shop.count("price", active=True), shop.count("product")) == (5, 2)


async def test_a_changed_package_is_a_new_price_and_the_former_is_archived(shop: Shop) -> None:
    async with shop.process() as parts:
        await sync(parts)
    shop.plan = OTHER_PLAN
    async with shop.process() as parts:
        changed = await sync(parts)
    assert len(actions(changed, SyncAction.CREATED)) == 1
    (archived,) = actions(changed, SyncAction.ARCHIVED)
    assert "credits-55000" in archived


async def test_a_price_that_was_switched_off_is_switched_on_again(shop: Shop) -> None:
    async with shop.process() as parts:
        await sync(parts)
        next(iter(shop.stripe.state.where("price")))["active"] = False
        assert len(actions(await sync(parts), SyncAction.ACTIVATED)) == 1
        assert shop.count("price", active=True) == 5


async def test_a_price_that_was_changed_at_stripe_is_reported_and_not_sold(shop: Shop) -> None:
    async with shop.process() as parts:
        await sync(parts)
        (price,) = shop.stripe.state.where("price", unit_amount=1000)
        price["metadata"]["keyferry_credits_micro_usd"] = "99"
        assert len(actions(await sync(parts), SyncAction.DIFFERENT)) == 1
        with pytest.raises(Refused, match="changed at Stripe"):
            await parts.handlers.create_checkout(checkout())


async def test_a_price_of_somebody_else_on_our_product_is_archived(shop: Shop) -> None:
    async with shop.process() as parts:
        await sync(parts)
        (product,) = [each["id"] for each in shop.stripe.state.where("product") if "credits" in each["id"]]
        (price,) = shop.stripe.state.where("price", unit_amount=1000)
        stranger = {**price, "id": "price_stranger", "lookup_key": None, "unit_amount": 1}
        shop.stripe.state.table("price")["price_stranger"] = stranger
        assert price["product"] == product
        assert actions(await sync(parts), SyncAction.ARCHIVED) == ["price_stranger"]


def start(tier: Tier = Tier.PROFESSIONAL, key: str = "s1") -> StartSubscription:
    return StartSubscription(tenant=TENANT, tier=tier, return_path="/t/acme/settings", idempotency_key=key)


async def get(parts: PurchaseParts) -> Subscription:
    return await parts.subscription_handlers.get(GetSubscription(tenant=TENANT))


async def subscribe(shop: Shop, parts: PurchaseParts, tier: Tier = Tier.PROFESSIONAL) -> Subscription:
    page = await parts.subscription_handlers.start(start(tier))
    await shop.pay(page.url)
    return await get(parts)


async def test_a_paid_subscription_gives_the_tier(shop: Shop) -> None:
    async with shop.process() as parts:
        none = await get(parts)
        assert (none.state, [offer.tier for offer in none.offers]) == (
            SubscriptionState.NONE,
            [Tier.PROFESSIONAL, Tier.ENTERPRISE],
        )
        paid = await subscribe(shop, parts)
        assert (paid.state, paid.tier, paid.tier_of_tenant) == (
            SubscriptionState.ACTIVE,
            Tier.PROFESSIONAL,
            Tier.PROFESSIONAL,
        )
        with pytest.raises(Refused, match="change its tier instead"):
            await parts.subscription_handlers.start(start(key="s2"))


async def test_one_page_at_a_time_can_be_paid(shop: Shop) -> None:
    async with shop.process() as one, shop.process() as two:
        same = await asyncio.gather(
            *(parts.subscription_handlers.start(start()) for parts in (one, two) for _ in range(2))
        )
        assert len({page.url for page in same}) == 1
        other = await one.subscription_handlers.start(start(Tier.ENTERPRISE, "s2"))
        await shop.pay(same[0].url)
        await shop.pay(other.url)
        assert (await get(one)).tier is Tier.ENTERPRISE
    assert shop.count("subscription") == 1


async def test_a_subscription_whose_browser_never_came_back_is_applied(shop: Shop) -> None:
    async with shop.process() as parts:
        page = await parts.subscription_handlers.start(start())
        await shop.pay(page.url)
        shop.clock.forward(minutes=6)
        await parts.job.work()
    assert shop.tenants.entries[TENANT].tier is Tier.PROFESSIONAL


async def test_a_tier_that_an_operator_has_set_stays_and_that_is_said(shop: Shop) -> None:
    shop.add_tenant(tier_set_by=TierSource.OPERATOR)
    async with shop.process() as parts:
        paid = await subscribe(shop, parts)
    assert (paid.tier, paid.tier_of_tenant, paid.set_by_operator) == (Tier.PROFESSIONAL, Tier.STARTER, True)
    assert paid.detail is not None
    assert "--follow-subscription" in paid.detail


async def test_a_higher_tier_applies_at_once_and_a_lower_one_with_the_next_period(shop: Shop) -> None:
    async with shop.process() as parts:
        await subscribe(shop, parts)
        change = parts.subscription_handlers.change
        higher = await change(ChangeSubscription(tenant=TENANT, tier=Tier.ENTERPRISE))
        assert (higher.tier, higher.tier_of_tenant) == (Tier.ENTERPRISE, Tier.ENTERPRISE)
        lower = await change(ChangeSubscription(tenant=TENANT, tier=Tier.PROFESSIONAL))
        assert (lower.tier, lower.next_tier, lower.tier_of_tenant) == (
            Tier.ENTERPRISE,
            Tier.PROFESSIONAL,
            Tier.ENTERPRISE,
        )
        assert lower.period_ends_at is not None
        shop.clock.now = lower.period_ends_at
        shop.clock.forward(minutes=6)
        await parts.job.work()
        later = await get(parts)
    assert (later.tier, later.next_tier, later.tier_of_tenant) == (Tier.PROFESSIONAL, None, Tier.PROFESSIONAL)


async def test_a_cancelled_subscription_ends_with_its_period(shop: Shop) -> None:
    async with shop.process() as parts:
        await subscribe(shop, parts)
        cancel = parts.subscription_handlers.cancel
        ending = await cancel(CancelSubscription(tenant=TENANT))
        assert (ending.state, ending.tier_of_tenant) == (SubscriptionState.ENDING, Tier.PROFESSIONAL)
        undone = await cancel(CancelSubscription(tenant=TENANT, undo=True))
        assert undone.state is SubscriptionState.ACTIVE
        await cancel(CancelSubscription(tenant=TENANT))
        (subscription,) = shop.stripe.state.where("subscription")
        subscription["status"] = "canceled"
        shop.clock.forward(minutes=6)
        await parts.job.work()
        ended = await get(parts)
    assert (ended.state, ended.tier_of_tenant) == (SubscriptionState.ENDED, Tier.STARTER)


async def test_the_subscription_of_a_deleted_tenant_ends(shop: Shop) -> None:
    async with shop.process() as parts:
        await subscribe(shop, parts)
        (subscription,) = shop.stripe.state.where("subscription")
        assert not subscription["cancel_at_period_end"]
        shop.fail(FailureKind.SERVER_ERROR, r"/v1/subscriptions/.*", times=3)
        with pytest.raises(Refused):
            await parts.subscription_handlers.end_for_deleted(EraseTenant(tenant=TENANT))
        for _ in range(2):
            await parts.subscription_handlers.end_for_deleted(EraseTenant(tenant=TENANT))
        assert subscription["cancel_at_period_end"]


async def test_nobody_pays_for_a_deleted_tenant_on_an_open_page(shop: Shop) -> None:
    async with shop.process() as parts:
        page = await parts.subscription_handlers.start(start())
        await parts.subscription_handlers.end_for_deleted(EraseTenant(tenant=TENANT))
        await shop.pay(page.url)
    assert shop.count("subscription") == 0


async def test_after_a_failed_payment_the_tier_stays_for_the_days_of_grace(shop: Shop) -> None:
    async with shop.process() as parts:
        await subscribe(shop, parts)
        (subscription,) = shop.stripe.state.where("subscription")
        subscription["status"] = "past_due"
        shop.clock.forward(minutes=6)
        await parts.job.work()
        grace = await get(parts)
        assert (grace.state, grace.tier_of_tenant) == (SubscriptionState.GRACE, Tier.PROFESSIONAL)
        shop.clock.forward(days=6)
        await parts.job.work()
        assert (await get(parts)).tier_of_tenant is Tier.PROFESSIONAL
        shop.clock.forward(days=2)
        await parts.job.work()
        assert (await get(parts)).tier_of_tenant is Tier.STARTER
        subscription["status"] = "active"
        shop.clock.forward(minutes=6)
        await parts.job.work()
        assert (await get(parts)).tier_of_tenant is Tier.PROFESSIONAL


async def test_a_tier_that_is_not_sold_is_refused(shop: Shop) -> None:
    async with shop.process() as parts:
        with pytest.raises(Refused, match="professional, enterprise"):
            await parts.subscription_handlers.start(start(Tier.FREE))
        with pytest.raises(Refused, match="has no subscription"):
            await parts.subscription_handlers.cancel(CancelSubscription(tenant=TENANT))
