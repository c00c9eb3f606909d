"""Routes for buying credits: packages, checkouts, automatic top-ups; and for subscriptions to a tier."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.purchase_management import (
    CHECKOUT_CANCEL,
    CHECKOUT_CREATE,
    CHECKOUT_GET,
    CUSTOMER_GET,
    PACKAGE_LIST,
    PACKAGE_SYNC,
    PURCHASE_LIST,
    TOP_UP_GET,
    TOP_UP_RESUME,
    TOP_UP_SAVE,
)
from keyferry.contracts.purchases import (
    BillingCustomer,
    CancelCheckout,
    CreateCheckout,
    GetCheckout,
    GetCustomer,
    GetTopUp,
    ListPackages,
    ListPurchases,
    Packages,
    PackageSync,
    Purchase,
    PurchaseId,
    Purchases,
    ResumeTopUp,
    SaveTopUp,
    SyncPackages,
    TopUp,
)
from services.console.access import RouteSpec
from services.console.purchase_bodies import CheckoutBody, PackageSyncBody, PurchaseQuery, TopUpBody
from services.console.service_client import STRIPE_SECONDS, STRIPE_SYNC_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class PurchaseRoutes:
    """The routes under `/credits` that are about buying."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about one tenant."""
        return (
            RouteSpec("GET", "/credits/packages", "list_packages", self.list_packages),
            RouteSpec("GET", "/credits/checkouts", "list_checkouts", self.list_checkouts),
            RouteSpec("POST", "/credits/checkouts", "create_checkout", self.create_checkout, status=201),
            RouteSpec("GET", "/credits/checkouts/{purchase}", "get_checkout", self.get_checkout),
            RouteSpec("POST", "/credits/checkouts/{purchase}/cancel", "cancel_checkout", self.cancel_checkout),
            RouteSpec("GET", "/credits/customer", "get_billing_customer", self.get_customer),
            RouteSpec("GET", "/credits/top-up", "get_top_up", self.get_top_up),
            RouteSpec("PUT", "/credits/top-up", "save_top_up", self.save_top_up),
            RouteSpec("POST", "/credits/top-up/resume", "resume_top_up", self.resume_top_up),
        )

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about the whole installation."""
        return (RouteSpec("POST", "/billing/packages/sync", "sync_packages", self.sync_packages),)

    async def list_packages(self, context: CurrentTenant) -> Packages:
        """List what can be bought, with what 1000 credits of each package cost, and whether payments are taken at all."""
        return await self._services.read(PACKAGE_LIST, ListPackages(tenant=context.tenant))

    async def list_checkouts(self, context: CurrentTenant, query: Annotated[PurchaseQuery, Query()]) -> Purchases:
        """List a tenant's last purchases, automatic ones among them, newest first."""
        return await self._services.read(PURCHASE_LIST, ListPurchases(tenant=context.tenant, limit=query.limit))

    async def create_checkout(self, context: CurrentTenant, body: CheckoutBody) -> Purchase:
        """Open a page of Stripe on which credits are paid; its address is `url`.

        Repeating it with the same idempotency key returns the same page. A page can be paid for two hours.
        """
        command = CreateCheckout(tenant=context.tenant, actor=context.actor, **body.model_dump())
        return await self._services.change(CHECKOUT_CREATE, command, timeout_seconds=STRIPE_SECONDS)

    async def get_checkout(self, context: CurrentTenant, purchase: PurchaseId) -> Purchase:
        """Return how far a purchase is: Stripe is asked while it is not finished, and paid credits are added."""
        command = GetCheckout(tenant=context.tenant, purchase=purchase)
        return await self._services.read(CHECKOUT_GET, command, timeout_seconds=STRIPE_SECONDS)

    async def cancel_checkout(self, context: CurrentTenant, purchase: PurchaseId) -> Purchase:
        """Close a page that is not paid, so that it cannot be paid any more."""
        command = CancelCheckout(tenant=context.tenant, purchase=purchase, actor=context.actor)
        return await self._services.change(CHECKOUT_CANCEL, command, timeout_seconds=STRIPE_SECONDS)

    async def get_customer(self, context: CurrentTenant) -> BillingCustomer:
        """Return what is stored about a tenant at Stripe: its customer, and the saved payment method."""
        return await self._services.read(CUSTOMER_GET, GetCustomer(tenant=context.tenant))

    async def get_top_up(self, context: CurrentTenant) -> TopUp:
        """Return a tenant's automatic top-up: its terms, what it does now, and what this month has taken."""
        return await self._services.read(TOP_UP_GET, GetTopUp(tenant=context.tenant))

    async def save_top_up(self, context: CurrentTenant, body: TopUpBody) -> TopUp:
        """Set a tenant's automatic top-up. With `revision`, 409 if somebody else has changed it since that was read."""
        values = body.model_dump()
        command = SaveTopUp(
            tenant=context.tenant, actor=context.actor, expected_revision=values.pop("revision"), **values
        )
        return await self._services.change(TOP_UP_SAVE, command)

    async def resume_top_up(self, context: CurrentTenant) -> TopUp:
        """Let a paused automatic top-up go on; it charges soon if credits are low."""
        command = ResumeTopUp(tenant=context.tenant, actor=context.actor)
        return await self._services.change(TOP_UP_RESUME, command)

    async def sync_packages(self, context: CurrentTenant, body: PackageSyncBody) -> PackageSync:
        """Make the products and prices at Stripe equal to the billing file, and report what differed on either side."""
        command = SyncPackages(dry_run=body.dry_run, actor=context.actor)
        return await self._services.change(PACKAGE_SYNC, command, timeout_seconds=STRIPE_SYNC_SECONDS)
