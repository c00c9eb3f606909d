"""Assembles the billing."""

from datetime import UTC, datetime
from functools import partial

from keyferry.contracts.topology import TENANTS_VIEW, Role
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import IntegrationSecrets
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.views import KvView
from services.billing.handlers import BillingHandlers
from services.billing.known_orders import KnownOrders
from services.billing.known_tenants import BillingTenants
from services.billing.lago.wiring import LagoPart
from services.billing.provider_usage.wiring import serve_reconciliations
from services.billing.purchases.assembly import assemble_purchases
from services.billing.schema import BILLING_SCHEMA
from services.billing.settings import BillingSettings
from services.billing.stripe.client import StripeGateway
from services.billing.stripe.handlers import StripeHandlers
from services.billing.stripe.parts import assemble_stripe


def create_app(settings: BillingSettings | None = None) -> Service:
    """Assemble a billing from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(BillingSettings)
    service = Service(Role.BILLING, settings)
    database = ServiceDatabase.of(settings, BILLING_SCHEMA)
    service.opens(partial(database.open, service.bus), database.close)
    secrets = IntegrationSecrets(service.bus)
    lago = LagoPart(service, database, secrets, settings.lago_url, settings.lago_plan)
    serve_reconciliations(service, database, secrets, settings.egress_allow)
    gateway = StripeGateway(secrets, settings.stripe_url)
    service.closes(gateway.close)
    tenants = KvView(service.bus, TENANTS_VIEW)
    purchases = assemble_purchases(
        service.bus,
        database,
        BillingTenants(tenants),
        gateway,
        plan=settings.plan(),
        deployment=settings.deployment_id,
        console_url=settings.public_url,
        clock=partial(datetime.now, UTC),
    )
    purchases.handlers.register(service.bus)
    purchases.subscription_handlers.register(service.bus)
    BillingHandlers(database, purchases.subscription_handlers.end_for_deleted).register(service.bus)
    service.opens(tenants.start, tenants.stop)
    service.opens(purchases.job.start, purchases.job.stop)
    orders = KnownOrders(database)
    payments = assemble_stripe(
        service.bus,
        database,
        secrets,
        gateway,
        deployment=settings.deployment_id,
        clock=partial(datetime.now, UTC),
        find_order=orders.find_order,
        find_customer=orders.find_customer,
    )
    StripeHandlers(payments).register(service.bus)
    service.opens(payments.processor.start, payments.processor.stop)
    service.opens(payments.reconciler.start, payments.reconciler.stop)
    service.facts = lago.facts
    service.needs("PostgreSQL, and the published events", database.is_publishing)
    return service
