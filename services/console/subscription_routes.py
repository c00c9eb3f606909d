"""Routes for a tenant's subscription to a tier."""

from keyferry.contracts.purchase_management import (
    SUBSCRIPTION_CANCEL,
    SUBSCRIPTION_CHANGE,
    SUBSCRIPTION_GET,
    SUBSCRIPTION_START,
)
from keyferry.contracts.subscriptions import (
    CancelSubscription,
    ChangeSubscription,
    GetSubscription,
    StartSubscription,
    Subscription,
    SubscriptionPage,
)
from services.console.access import RouteSpec
from services.console.purchase_bodies import SubscriptionBody, SubscriptionChangeBody, SubscriptionEndBody
from services.console.service_client import STRIPE_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class SubscriptionRoutes:
    """The routes under `/billing/subscription`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about one tenant."""
        path = "/billing/subscription"
        return (
            RouteSpec("GET", path, "get_subscription", self.get),
            RouteSpec("POST", path, "start_subscription", self.start, status=201),
            RouteSpec("PUT", path, "change_subscription", self.change),
            RouteSpec("POST", f"{path}/cancel", "cancel_subscription", self.cancel),
        )

    async def get(self, context: CurrentTenant) -> Subscription:
        """Return a tenant's subscription, the tiers that are sold, and the tier that applies."""
        command = GetSubscription(tenant=context.tenant)
        return await self._services.read(SUBSCRIPTION_GET, command, timeout_seconds=STRIPE_SECONDS)

    async def start(self, context: CurrentTenant, body: SubscriptionBody) -> SubscriptionPage:
        """Open a page of Stripe on which a tenant subscribes to a tier; repeating it with the same key returns the same page."""
        command = StartSubscription(tenant=context.tenant, actor=context.actor, **body.model_dump())
        return await self._services.change(SUBSCRIPTION_START, command, timeout_seconds=STRIPE_SECONDS)

    async def change(self, context: CurrentTenant, body: SubscriptionChangeBody) -> Subscription:
        """Change the tier: a higher one at once and with its share of the price, a lower one when the paid period ends."""
        command = ChangeSubscription(tenant=context.tenant, actor=context.actor, tier=body.tier)
        return await self._services.change(SUBSCRIPTION_CHANGE, command, timeout_seconds=STRIPE_SECONDS)

    async def cancel(self, context: CurrentTenant, body: SubscriptionEndBody) -> Subscription:
        """End a subscription when its paid period ends; with `undo` it goes on."""
        command = CancelSubscription(tenant=context.tenant, actor=context.actor, undo=body.undo)
        return await self._services.change(SUBSCRIPTION_CANCEL, command, timeout_seconds=STRIPE_SECONDS)
