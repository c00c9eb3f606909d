"""Puts together what answers requests about credits and payments."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.runtime.bus.connection import Bus
from services.usage_ledger.accounts.credit_store import CreditStore
from services.usage_ledger.accounts.handlers import CreditHandlers
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.known_tenants import KnownTenants
from services.usage_ledger.payments.handlers import PaymentHandlers
from services.usage_ledger.payments.store import PaymentStore


def serve_credits(
    bus: Bus, engine: AsyncEngine, known: KnownTenants, audit_log: AuditLog, changed: Callable[[Iterable[str]], None]
) -> None:
    """Answer requests about credits and payments; `changed` receives the tenants whose credits were changed."""
    clock = partial(datetime.now, UTC)
    CreditHandlers(CreditStore(engine), known.require, audit_log, clock, changed).register(bus)
    payments = PaymentStore(engine)
    PaymentHandlers(payments, known.require, audit_log, clock, changed, known.is_deleted).register(bus)
