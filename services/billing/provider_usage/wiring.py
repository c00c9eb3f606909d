"""Assembles the comparisons with providers."""

from datetime import UTC, datetime
from functools import partial

from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import IntegrationSecrets
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import Networks
from keyferry.runtime.upstream.client import ResponseLimits, UpstreamClient
from services.billing.provider_usage.fetcher import UsageFetcher
from services.billing.provider_usage.handlers import ReconciliationHandlers
from services.billing.provider_usage.monthly import MonthlyReconciliation
from services.billing.provider_usage.reconciler import Reconciler
from services.billing.provider_usage.store import ReconciliationStore

_MOST_CONNECTIONS = 16


def serve_reconciliations(
    service: Service, database: ServiceDatabase, secrets: IntegrationSecrets, egress_allow: Networks
) -> None:
    """Answer requests about comparisons, and run those of each month."""
    clock = partial(datetime.now, UTC)
    client = UpstreamClient(egress_allow, limits=ResponseLimits(), max_connections=_MOST_CONNECTIONS)
    store = ReconciliationStore(database)
    reconciler = Reconciler(service.bus, store, UsageFetcher(client), secrets, clock)
    ReconciliationHandlers(store, reconciler, clock).register(service.bus)
    monthly = MonthlyReconciliation(store, reconciler, clock)
    service.closes(client.close)
    service.opens(monthly.start, monthly.stop)
