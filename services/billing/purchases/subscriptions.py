"""Subscriptions: opens the page on which one is paid, follows it at Stripe, and has the tenant directory apply its tier."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from nats.errors import Error as NatsError

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.erasure import EraseTenant
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.subscriptions import (
    AppliedSubscription,
    ApplySubscription,
    CancelSubscription,
    ChangeSubscription,
    StartSubscription,
    SubscriptionPage,
)
from keyferry.contracts.tenancy import Tier
from keyferry.runtime.bus.requests import BusError, Refused
from services.billing.purchases.catalog import OfferCatalog
from services.billing.purchases.checkout_params import return_url
from services.billing.purchases.customers import Customers
from services.billing.purchases.offers import TierOffer, tier_offers
from services.billing.purchases.package_sync import PackageSynchronizer
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.stripe_access import DEPLOYMENT, TENANT, TIER, object_id
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.purchases.subscription_rules import (
    SubscriptionFacts,
    is_higher,
    is_running,
    read_subscription,
    tier_to_apply,
)
from services.billing.purchases.subscription_store import StoredSubscription, SubscriptionStore
from services.billing.stripe.client import StripeDict, StripeFailure, StripeRequestRefused

_log = logging.getLogger(__name__)

_AT_ONCE = 20
_PASSING = (StripeFailure, BusError, Refused, NatsError, PurchaseRefused)

Apply = Callable[[ApplySubscription], Awaitable[AppliedSubscription]]
"""Has the tenant directory apply a tier. Raises BusError and Refused."""


class Subscriptions:
    """The subscriptions of tenants.

    All raise StripeFailure, BusError, Refused, DatabaseUnavailable and PurchaseRefused.
    """

    def __init__(
        self,
        store: SubscriptionStore,
        calls: StripeCalls,
        customers: Customers,
        packages: PackageSynchronizer,
        catalog: OfferCatalog,
        apply: Apply,
        *,
        plan: BillingPlan,
        console_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._calls = calls
        self._customers = customers
        self._packages = packages
        self._catalog = catalog
        self._apply = apply
        self._plan = plan
        self._console_url = console_url
        self._clock = clock

    async def start(self, command: StartSubscription) -> SubscriptionPage:
        """Open the page on which a tenant subscribes. A page that was opened before is closed, so that only one can be paid."""
        await self._calls.check()
        offer = self._offer(command.tier)
        async with self._store.one_at_a_time(command.tenant):
            found = await self.refresh(command.tenant)
            if found is not None and found.facts is not None and is_running(found.facts):
                raise PurchaseRefused(
                    ErrorCode.CONFLICT, "the tenant has a subscription: change its tier instead of starting another one"
                )
            session = await self._page(command, offer, found)
        expires_at = datetime.fromtimestamp(session["expires_at"], UTC)
        return SubscriptionPage(tenant=command.tenant, tier=command.tier, url=session["url"], expires_at=expires_at)

    async def change(self, command: ChangeSubscription) -> None:
        """Change the tier: a higher one at once, with its share of the price; a lower one with the next period."""
        offer = self._offer(command.tier)
        async with self._store.one_at_a_time(command.tenant):
            found, facts = await self._require_running(command.tenant)
            if facts.tier is command.tier:
                return
            price = await self._packages.price_of(offer)
            subscription = str(found.subscription)
            item = (await self._calls.get_subscription(subscription))["items"]["data"][0]["id"]
            higher = is_higher(command.tier, facts.tier)
            await self._store.record(
                command.tenant, command.actor, "subscription.change", subscription, {"tier": command.tier.value}
            )
            if not higher and facts.tier is not None and facts.period_ends_at is not None:
                # Stored before the price is changed: whatever happens next, the tenant keeps what it has paid for.
                await self._store.write(command.tenant, paid_tier=facts.tier, paid_until=facts.period_ends_at)
            params: dict[str, Any] = {
                "items": [{"id": item, "price": price}],
                "metadata": {TIER: command.tier.value},
                "proration_behavior": "always_invoice" if higher else "none",
            }
            if higher:
                params["payment_behavior"] = "error_if_incomplete"
            try:
                await self._calls.update_subscription(subscription, params)
            except StripeRequestRefused as error:
                raise PurchaseRefused(ErrorCode.CONFLICT, f"the tier stays: {error}") from None
            await self.refresh(command.tenant)

    async def cancel(self, command: CancelSubscription) -> None:
        """End a subscription with its period, or take that back."""
        async with self._store.one_at_a_time(command.tenant):
            found, facts = await self._require_running(command.tenant)
            if facts.cancels is not command.undo:
                return
            action = "subscription.continue" if command.undo else "subscription.cancel"
            await self._store.record(command.tenant, command.actor, action, str(found.subscription), {})
            params = {"cancel_at_period_end": not command.undo}
            await self._calls.update_subscription(str(found.subscription), params)
            await self.refresh(command.tenant)

    async def end_for_deleted(self, command: EraseTenant) -> None:
        """End a deleted tenant's subscription with its period, so that nothing is charged for it any more.

        A page on which one could be paid is closed first.
        """
        async with self._store.one_at_a_time(command.tenant):
            found = await self._store.find(command.tenant)
            subscription = None if found is None else await self._last_subscription(found)
            if found is None or subscription is None:
                return
            at_stripe = await self._calls.get_subscription(subscription)
            facts = read_subscription(at_stripe, self._tiers_of_prices(), found.facts, self._clock())
            if not is_running(facts) or facts.cancels:
                return
            reason = {"reason": "the tenant is deleted"}
            await self._store.record(command.tenant, command.actor, "subscription.cancel", subscription, reason)
            await self._calls.update_subscription(subscription, {"cancel_at_period_end": True})

    async def _last_subscription(self, found: StoredSubscription) -> str | None:
        if found.session is None:
            return found.subscription
        session = await self._calls.get_session(found.session, expand=[])
        if session["status"] == "open":
            await self._close(found.session)
        return object_id(session.get("subscription")) or found.subscription

    async def refresh(self, tenant: str) -> StoredSubscription | None:
        """Ask Stripe about a tenant's subscription, have its tier applied, and return what is stored then."""
        found = await self._store.find(tenant)
        if found is None:
            return None
        subscription = found.subscription
        if found.session is not None:
            session = await self._calls.get_session(found.session, expand=[])
            subscription = object_id(session.get("subscription")) or subscription
        if subscription is None:
            return found
        now = self._clock()
        facts = read_subscription(
            await self._calls.get_subscription(subscription), self._tiers_of_prices(), found.facts, now
        )
        await self._store.write_facts(tenant, subscription, facts, now)
        await self._apply_tier(tenant, facts, now)
        return await self._store.find(tenant)

    async def check_due(self) -> bool:
        """Refresh what is due; return whether there may be more. Raises DatabaseUnavailable."""
        due = await self._store.claim_due(self._clock(), _AT_ONCE)
        for tenant in due:
            try:
                await self.refresh(tenant)
            except _PASSING as error:
                _log.warning("a subscription is looked at later: %s", type(error).__name__)
        return len(due) == _AT_ONCE

    async def _apply_tier(self, tenant: str, facts: SubscriptionFacts, now: datetime) -> None:
        terms = self._plan.subscriptions
        if terms is None:
            return
        tier = tier_to_apply(facts, terms.grace_days, now)
        applied = await self._apply(ApplySubscription(tenant=tenant, tier=tier, without=terms.without))
        await self._store.write(tenant, applied_tier=tier, set_by_operator=not applied.applied)

    async def _page(self, command: StartSubscription, offer: TierOffer, found: StoredSubscription | None) -> StripeDict:
        if found is not None and found.session is not None and found.facts is None:
            session = await self._calls.get_session(found.session, expand=[])
            if session["status"] == "open" and found.session_key == _key(command):
                return session
            if session["status"] == "open":
                await self._close(found.session)
        customer = await self._customers.ensure(command.tenant, command.actor)
        price = await self._packages.price_of(offer)
        await self._store.record(
            command.tenant, command.actor, "subscription.start", command.tenant, {"tier": command.tier.value}
        )
        params = self._page_params(command, customer, price)
        session = await self._calls.create_session(params, f"subscribe-{_key(command)}")
        await self._store.write(
            command.tenant,
            session=session["id"],
            session_key=_key(command),
            subscription=None,
            status=None,
            check_at=self._clock(),
        )
        return session

    async def _close(self, session: str) -> None:
        try:
            await self._calls.expire_session(session)
        except StripeRequestRefused:
            raise PurchaseRefused(
                ErrorCode.CONFLICT, "a subscription is being paid on another page: look at it again in a moment"
            ) from None

    def _page_params(self, command: StartSubscription, customer: str, price: str) -> dict[str, Any]:
        metadata = {
            TENANT: command.tenant,
            DEPLOYMENT: self._catalog.deployment,
            TIER: command.tier.value,
        }
        return {
            "mode": "subscription",
            "customer": customer,
            "client_reference_id": command.tenant,
            "line_items": [{"price": price, "quantity": 1}],
            "metadata": metadata,
            "subscription_data": {"metadata": metadata},
            "success_url": return_url(self._console_url, command.return_path, {"subscription": "paid"}),
            "cancel_url": return_url(self._console_url, command.return_path, {"subscription": "cancelled"}),
        }

    async def _require_running(self, tenant: str) -> tuple[StoredSubscription, SubscriptionFacts]:
        found = await self.refresh(tenant)
        if found is None or found.facts is None or not is_running(found.facts):
            raise PurchaseRefused(ErrorCode.NOT_FOUND, "the tenant has no subscription: start one first")
        return found, found.facts

    def _offer(self, tier: Tier) -> TierOffer:
        for offer in tier_offers(self._plan):
            if offer.tier is tier:
                return offer
        sold = ", ".join(offer.tier.value for offer in tier_offers(self._plan)) or "none"
        raise PurchaseRefused(
            ErrorCode.INVALID, f"there is no subscription to {tier}: the tiers that are sold are {sold}"
        )

    def _tiers_of_prices(self) -> dict[str, Tier]:
        return {self._catalog.lookup_key(offer): offer.tier for offer in tier_offers(self._plan)}


def _key(command: StartSubscription) -> str:
    return f"{command.tenant}-{command.tier}-{command.idempotency_key}"
