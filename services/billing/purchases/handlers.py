"""Handlers of purchases: requests over the bus about packages, checkouts and automatic top-ups."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from nats.errors import Error as NatsError

from keyferry.billing.plan import BillingPlan
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
    Purchases,
    ResumeTopUp,
    SaveTopUp,
    SyncPackages,
    TopUp,
    from_cents,
)
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.known_tenants import BillingTenants
from services.billing.purchases import offers, top_up_view
from services.billing.purchases.checkouts import Checkouts
from services.billing.purchases.customers import Customers
from services.billing.purchases.package_sync import PackageSynchronizer
from services.billing.purchases.purchase_store import CreditPurchaseStore
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.settlement import UnexpectedPayment
from services.billing.purchases.stripe_access import NOT_CONFIGURED, refusing_stripe_errors
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.purchases.top_up_rules import month_window
from services.billing.purchases.top_up_store import TopUpStore
from services.billing.stripe.client import StripeNotConfigured


class PurchaseHandlers:
    """Handlers of one process. `wake` begins what is due; `clock` returns the time in UTC. All raise Refused."""

    def __init__(
        self,
        tenants: BillingTenants,
        purchases: CreditPurchaseStore,
        top_ups: TopUpStore,
        checkouts: Checkouts,
        customers: Customers,
        packages: PackageSynchronizer,
        calls: StripeCalls,
        *,
        plan: BillingPlan,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._tenants = tenants
        self._purchases = purchases
        self._top_ups = top_ups
        self._checkouts = checkouts
        self._customers = customers
        self._packages = packages
        self._calls = calls
        self._plan = plan
        self._wake = wake
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the requests."""
        bus.respond(PACKAGE_LIST, self.list_packages)
        bus.respond(PACKAGE_SYNC, self.sync_packages)
        bus.respond(CHECKOUT_CREATE, self.create_checkout)
        bus.respond(CHECKOUT_GET, self.get_checkout)
        bus.respond(CHECKOUT_CANCEL, self.cancel_checkout)
        bus.respond(PURCHASE_LIST, self.list_purchases)
        bus.respond(CUSTOMER_GET, self.get_customer)
        bus.respond(TOP_UP_GET, self.get_top_up)
        bus.respond(TOP_UP_SAVE, self.save_top_up)
        bus.respond(TOP_UP_RESUME, self.resume_top_up)

    async def list_packages(self, command: ListPackages) -> Packages:
        """Return what can be bought, and whether payments are taken at all."""
        async with refusing():
            await self._tenants.require(command.tenant)
            configured = await self._is_configured()
        return Packages(
            configured=configured,
            detail=None if configured else NOT_CONFIGURED,
            version=self._plan.version,
            packages=offers.packages(self._plan),
            custom=offers.custom_amount(self._plan),
        )

    async def sync_packages(self, command: SyncPackages) -> PackageSync:
        """Make products and prices at Stripe equal to the billing file."""
        async with refusing():
            return await self._packages.sync(command)

    async def create_checkout(self, command: CreateCheckout) -> Purchase:
        """Open a page of Stripe."""
        async with refusing():
            await self._require_payer(command.tenant)
            return (await self._checkouts.create(command)).to_message()

    async def get_checkout(self, command: GetCheckout) -> Purchase:
        """Return a purchase, with what Stripe says about it now if Stripe answers."""
        async with refusing():
            found = await self._purchases.get(command.tenant, command.purchase)
            try:
                async with refusing():
                    return (await self._checkouts.refresh(found)).to_message()
            except Refused:
                return found.to_message()

    async def cancel_checkout(self, command: CancelCheckout) -> Purchase:
        """Close a page that is not paid."""
        async with refusing():
            return (await self._checkouts.cancel(command)).to_message()

    async def list_purchases(self, command: ListPurchases) -> Purchases:
        """Return the newest purchases, as they were last known."""
        async with refusing():
            found = await self._purchases.newest(command.tenant, command.limit)
        return Purchases(tenant=command.tenant, purchases=[purchase.to_message() for purchase in found])

    async def get_customer(self, command: GetCustomer) -> BillingCustomer:
        """Return what is stored of a tenant as a customer."""
        async with refusing():
            found = await self._customers.find(command.tenant)
        if found is None:
            return BillingCustomer(tenant=command.tenant)
        return BillingCustomer(
            tenant=command.tenant,
            customer=found.customer,
            payment_method=found.payment_method_label,
            saved_at=found.saved_at,
        )

    async def get_top_up(self, command: GetTopUp) -> TopUp:
        """Return the automatic top-up and its state."""
        async with refusing():
            return await self._describe_top_up(command.tenant)

    async def save_top_up(self, command: SaveTopUp) -> TopUp:
        """Set the automatic top-up."""
        async with refusing():
            await self._require_payer(command.tenant)
            if command.enabled:
                await self._calls.check()
                offers.offer_for_price(self._plan, command.price_usd)
            await self._top_ups.save(command, self._clock())
            self._wake()
            return await self._describe_top_up(command.tenant)

    async def resume_top_up(self, command: ResumeTopUp) -> TopUp:
        """Let a paused top-up go on."""
        async with refusing():
            await self._top_ups.resume(command, self._clock())
            self._wake()
            return await self._describe_top_up(command.tenant)

    async def _describe_top_up(self, tenant: str) -> TopUp:
        now = self._clock()
        month = month_window((await self._tenants.require(tenant)).time_zone, now)
        status = await self._top_ups.status(tenant, month)
        bought = 0
        if status.terms is not None:
            try:
                price = from_cents(status.terms.amount_cents)
                bought = offers.offer_for_price(self._plan, price).credits_micro_usd
            except PurchaseRefused:
                bought = 0  # the billing file does not sell this amount any more
        configured = await self._is_configured()
        return top_up_view.describe(tenant, status, month, now, configured=configured, credits_micro_usd=bought)

    async def _is_configured(self) -> bool:
        try:
            await self._calls.check()
        except StripeNotConfigured:
            return False
        return True

    async def _require_payer(self, tenant: str) -> None:
        if (await self._tenants.require(tenant)).suspended:
            raise PurchaseRefused(
                ErrorCode.CONFLICT, "the tenant is suspended, so it buys nothing: an operator ends the suspension first"
            )


@asynccontextmanager
async def refusing() -> AsyncIterator[None]:
    """Refuse the request on a violated rule, and on an outage of Stripe, the bus or the database."""
    try:
        async with refusing_stripe_errors():
            yield
    except PurchaseRefused as error:
        raise Refused(error.code, error.message) from None
    except UnexpectedPayment as error:
        message = f"the payment is not what was ordered: {error}; an operator has to look at it"
        raise Refused(ErrorCode.CONFLICT, message) from None
    except DatabaseUnavailable:
        message = (
            "billing cannot reach its database, so it is unknown whether the change was made: repeat the request with the same"
            " idempotency key; `keyferry doctor` shows the cause"
        )
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
    except (BusError, NatsError) as error:
        raise Refused(
            ErrorCode.UNAVAILABLE, f"billing waits for another service: {error}; try again in a moment"
        ) from None
