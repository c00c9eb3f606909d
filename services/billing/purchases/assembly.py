"""Puts the parts of purchases together."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.ledger_management import CREDIT_GET
from keyferry.contracts.payment_management import CREDIT_RECORD_PAYMENT
from keyferry.contracts.purchase_management import TENANT_APPLY_SUBSCRIPTION
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.known_tenants import BillingTenants
from services.billing.purchases.catalog import OfferCatalog
from services.billing.purchases.checkouts import Checkouts
from services.billing.purchases.customer_store import CustomerStore
from services.billing.purchases.customers import Customers
from services.billing.purchases.handlers import PurchaseHandlers
from services.billing.purchases.package_sync import PackageSynchronizer
from services.billing.purchases.purchase_job import PurchaseJob
from services.billing.purchases.purchase_store import CreditPurchaseStore
from services.billing.purchases.settlement import PurchaseSettlement
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.purchases.subscription_handlers import SubscriptionHandlers
from services.billing.purchases.subscription_store import SubscriptionStore
from services.billing.purchases.subscriptions import Subscriptions
from services.billing.purchases.top_up_charges import TopUpCharges
from services.billing.purchases.top_up_checks import TopUpChecks
from services.billing.purchases.top_up_store import TopUpStore
from services.billing.stripe.client import StripeGateway

_ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class PurchaseParts:
    """What answers requests, and what works without one."""

    handlers: PurchaseHandlers
    subscription_handlers: SubscriptionHandlers
    job: PurchaseJob
    purchases: CreditPurchaseStore
    top_ups: TopUpStore
    charges: TopUpCharges
    checks: TopUpChecks


def assemble_purchases(
    bus: Bus,
    database: ServiceDatabase,
    tenants: BillingTenants,
    gateway: StripeGateway,
    *,
    plan: BillingPlan,
    deployment: str,
    console_url: str,
    clock: Callable[[], datetime],
) -> PurchaseParts:
    """Return the parts of one process, not started and not subscribed."""
    calls, catalog = StripeCalls(gateway), OfferCatalog(deployment)
    store, top_ups = CreditPurchaseStore(database), TopUpStore(database)
    customers = Customers(CustomerStore(database), calls, deployment, clock)
    packages = PackageSynchronizer(calls, catalog, plan, database, clock)
    settlement = PurchaseSettlement(store, partial(bus.ask, CREDIT_RECORD_PAYMENT, timeout_seconds=_ASK_SECONDS), clock)
    checkouts = Checkouts(
        store,
        calls,
        customers,
        packages,
        settlement,
        plan=plan,
        deployment=deployment,
        console_url=console_url,
        clock=clock,
    )
    charges = TopUpCharges(store, top_ups, calls, customers, settlement, deployment=deployment, clock=clock)
    checks = TopUpChecks(
        top_ups, customers, plan, partial(bus.ask, CREDIT_GET, timeout_seconds=_ASK_SECONDS), tenants.find
    )
    subscription_store = SubscriptionStore(database)
    subscriptions = Subscriptions(
        subscription_store,
        calls,
        customers,
        packages,
        catalog,
        partial(bus.ask, TENANT_APPLY_SUBSCRIPTION, timeout_seconds=_ASK_SECONDS),
        plan=plan,
        console_url=console_url,
        clock=clock,
    )
    job = PurchaseJob(store, checkouts, charges, checks, clock, (subscriptions.check_due,))
    handlers = PurchaseHandlers(
        tenants, store, top_ups, checkouts, customers, packages, calls, plan=plan, wake=job.wake, clock=clock
    )
    about_tiers = SubscriptionHandlers(tenants, subscriptions, subscription_store, calls, plan=plan, clock=clock)
    return PurchaseParts(handlers, about_tiers, job, store, top_ups, charges, checks)
