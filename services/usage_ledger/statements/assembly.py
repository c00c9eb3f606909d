"""Wires what answers requests for statements."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import KvView
from services.usage_ledger.known_tenants import KnownTenants
from services.usage_ledger.statements.closing import MonthClosing
from services.usage_ledger.statements.handlers import StatementHandlers
from services.usage_ledger.statements.month_store import StatementMonthStore
from services.usage_ledger.statements.reports import StatementReports


def serve_statements(
    service: Service,
    engine: AsyncEngine,
    readers: AsyncEngine,
    tenants: KvView[Tenant],
    complete_until: Callable[[], datetime | None],
) -> None:
    """Answer requests, and store months that have ended. Call after the database is among what the service opens."""
    clock = partial(datetime.now, UTC)
    months = StatementMonthStore(engine)
    reports = StatementReports(months, readers, clock, complete_until)
    StatementHandlers(reports, KnownTenants(tenants).require, tenants.get).register(service.bus)
    closing = MonthClosing(months, lambda: (tenant for _, tenant in tenants), clock)
    service.opens(closing.start, closing.stop)
