"""Handlers of subscriptions."""

import logging
from collections.abc import Callable
from datetime import datetime

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.erasure import EraseTenant
from keyferry.contracts.purchase_management import (
    SUBSCRIPTION_CANCEL,
    SUBSCRIPTION_CHANGE,
    SUBSCRIPTION_GET,
    SUBSCRIPTION_START,
)
from keyferry.contracts.purchases import from_cents
from keyferry.contracts.subscriptions import (
    CancelSubscription,
    ChangeSubscription,
    GetSubscription,
    StartSubscription,
    Subscription,
    SubscriptionOffer,
    SubscriptionPage,
)
from keyferry.contracts.tenancy import Tier
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.billing.known_tenants import BillingTenants
from services.billing.purchases.handlers import refusing
from services.billing.purchases.offers import tier_offers
from services.billing.purchases.stripe_access import NOT_CONFIGURED
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.purchases.subscription_rules import grace_until, is_running, state_of
from services.billing.purchases.subscription_store import StoredSubscription, SubscriptionStore
from services.billing.purchases.subscriptions import Subscriptions
from services.billing.stripe.client import StripeNotConfigured

_log = logging.getLogger(__name__)

_HELD = (
    "An operator has set the tier, so the subscription does not change it. `keyferry tenants update {tenant}"
    " --follow-subscription` hands it over."
)


class SubscriptionHandlers:
    """Handlers of one process. All raise Refused; `clock` returns the time in UTC."""

    def __init__(
        self,
        tenants: BillingTenants,
        subscriptions: Subscriptions,
        store: SubscriptionStore,
        calls: StripeCalls,
        *,
        plan: BillingPlan,
        clock: Callable[[], datetime],
    ) -> None:
        self._tenants = tenants
        self._subscriptions = subscriptions
        self._store = store
        self._calls = calls
        self._plan = plan
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the requests."""
        bus.respond(SUBSCRIPTION_GET, self.get)
        bus.respond(SUBSCRIPTION_START, self.start)
        bus.respond(SUBSCRIPTION_CHANGE, self.change)
        bus.respond(SUBSCRIPTION_CANCEL, self.cancel)

    async def get(self, command: GetSubscription) -> Subscription:
        """Return a subscription, with what Stripe says about it now if Stripe answers."""
        async with refusing():
            try:
                async with refusing():
                    await self._subscriptions.refresh(command.tenant)
            except Refused:
                pass  # what is stored is shown, as it was last known
            return await self._describe(command.tenant)

    async def start(self, command: StartSubscription) -> SubscriptionPage:
        """Open the page on which a tenant subscribes."""
        async with refusing():
            await self._tenants.require(command.tenant)
            return await self._subscriptions.start(command)

    async def change(self, command: ChangeSubscription) -> Subscription:
        """Change the tier."""
        async with refusing():
            await self._subscriptions.change(command)
            return await self._describe(command.tenant)

    async def cancel(self, command: CancelSubscription) -> Subscription:
        """End a subscription with its period, or let it go on."""
        async with refusing():
            await self._subscriptions.cancel(command)
            return await self._describe(command.tenant)

    async def end_for_deleted(self, command: EraseTenant) -> None:
        """End a deleted tenant's subscription at Stripe. Without a key of Stripe there is nothing that it could be ended with."""
        async with refusing():
            try:
                await self._subscriptions.end_for_deleted(command)
            except StripeNotConfigured:
                _log.warning("a deleted tenant's subscription cannot be ended: there is no key of Stripe")

    async def _describe(self, tenant: str) -> Subscription:
        known = await self._tenants.require(tenant)
        try:
            await self._calls.check()
            configured = True
        except StripeNotConfigured:
            configured = False
        found = await self._store.find(tenant)
        return describe(
            tenant, known.tier, found, self._plan, self._clock(), detail=None if configured else NOT_CONFIGURED
        )


def describe(
    tenant: str, tier: Tier, found: StoredSubscription | None, plan: BillingPlan, now: datetime, *, detail: str | None
) -> Subscription:
    """Return the message about a tenant's subscription; `detail` says why none can be paid."""
    grace_days = 0 if plan.subscriptions is None else plan.subscriptions.grace_days
    facts = None if found is None else found.facts
    shown = Subscription(
        tenant=tenant,
        configured=detail is None,
        offers=[
            SubscriptionOffer(tier=each.tier, price_usd=from_cents(each.amount_cents)) for each in tier_offers(plan)
        ],
        state=state_of(facts, grace_days, now),
        tier_of_tenant=tier,
        detail=detail,
    )
    if found is None or facts is None:
        return shown
    keeps_higher = facts.paid_until is not None and facts.paid_until > now and facts.paid_tier is not None
    held = found.set_by_operator and is_running(facts)
    return shown.model_copy(
        update={
            "tier": facts.paid_tier if keeps_higher else facts.tier,
            "next_tier": facts.tier if keeps_higher and facts.tier is not facts.paid_tier else None,
            "period_ends_at": facts.period_ends_at,
            "grace_until": grace_until(facts, grace_days),
            "set_by_operator": found.set_by_operator,
            "subscription": found.subscription,
            "detail": _HELD.format(tenant=tenant) if held else detail,
        }
    )
