"""Assembles what answers questions about requests: the request log, traces, attempts by a provider's days, service levels."""

from datetime import UTC, datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.billing.plan import BillingPlan
from keyferry.runtime.bus.connection import Bus
from services.usage_ledger.pricing import Prices
from services.usage_ledger.provider_days.handlers import ProviderDayHandlers
from services.usage_ledger.provider_days.store import ProviderDayStore
from services.usage_ledger.request_log.handlers import RequestLogHandlers
from services.usage_ledger.request_log.store import RequestLogStore
from services.usage_ledger.service_levels.handlers import serve_service_levels
from services.usage_ledger.store import LedgerStore
from services.usage_ledger.traces.handlers import TraceHandlers
from services.usage_ledger.traces.store import TraceStore


def answer_about_requests(
    bus: Bus, engine: AsyncEngine, readers: AsyncEngine, records: LedgerStore, prices: Prices, plan: BillingPlan
) -> None:
    """Register the handlers. `readers` are the connections for queries that may take seconds."""
    clock = partial(datetime.now, UTC)
    log = RequestLogStore(readers)
    RequestLogHandlers(log, records, prices, plan, clock).register(bus)
    TraceHandlers(bus, TraceStore(readers), records, log, clock).register()
    ProviderDayHandlers(ProviderDayStore(readers)).register(bus)
    serve_service_levels(bus, engine)
