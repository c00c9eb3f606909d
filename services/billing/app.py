"""Assembles the billing."""

from functools import partial

from keyferry.contracts.topology import Role
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import IntegrationSecrets
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from services.billing.handlers import BillingHandlers
from services.billing.lago.wiring import LagoPart
from services.billing.provider_usage.wiring import serve_reconciliations
from services.billing.schema import BILLING_SCHEMA
from services.billing.settings import BillingSettings


def create_app(settings: BillingSettings | None = None) -> Service:
    """Assemble a billing from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(BillingSettings)
    service = Service(Role.BILLING, settings)
    database = ServiceDatabase.of(settings, BILLING_SCHEMA)
    BillingHandlers(database).register(service.bus)
    service.opens(partial(database.open, service.bus), database.close)
    secrets = IntegrationSecrets(service.bus)
    lago = LagoPart(service, database, secrets, settings.lago_url, settings.lago_plan)
    serve_reconciliations(service, database, secrets, settings.egress_allow)
    service.facts = lago.facts
    service.needs("PostgreSQL, and the published events", database.is_publishing)
    return service
