"""Handlers of requests about free requests, the margin and re-ratings."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.charges import (
    AllowanceState,
    GetAllowance,
    GetMargin,
    Margin,
    RerateAttempts,
    Rerating,
)
from keyferry.contracts.ledger_management import ALLOWANCE_GET, ATTEMPTS_RERATE, MARGIN_GET
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.charges.allowance_store import AllowanceStore
from services.usage_ledger.charges.margin_store import MarginStore
from services.usage_ledger.charges.rerating_store import RerateStore
from services.usage_ledger.database_outage import refuse_outages


class ChargeHandlers:
    """Handlers of one process. They raise Refused."""

    def __init__(
        self,
        allowances: AllowanceStore,
        margin: MarginStore,
        reratings: RerateStore,
        audit_log: AuditLog,
        prices_known: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._allowances = allowances
        self._margin = margin
        self._reratings = reratings
        self._audit_log = audit_log
        self._prices_known = prices_known
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(ALLOWANCE_GET, self.get_allowance)
        bus.respond(MARGIN_GET, self.get_margin)
        bus.respond(ATTEMPTS_RERATE, self.rerate)

    async def get_allowance(self, command: GetAllowance) -> AllowanceState:
        """Return a tenant's free requests of this month."""
        with refuse_outages():
            return await self._allowances.read(command.tenant, self._clock())

    async def get_margin(self, command: GetMargin) -> Margin:
        """Return what the platform has paid and earned."""
        with refuse_outages():
            return await self._margin.read(command)

    async def rerate(self, command: RerateAttempts) -> Rerating:
        """Correct attempts that were charged by a wrong price; the audit has it before anything is corrected."""
        if not self._prices_known():
            raise Refused(
                ErrorCode.UNAVAILABLE, "the prices that operators set are not known yet: try again in a moment"
            )
        with refuse_outages():
            if not command.dry_run:
                details = {
                    "rerate_id": command.rerate_id,
                    "since": command.since.isoformat(),
                    "reason": command.reason,
                }
                await self._audit_log.record(
                    command.actor, "ledger.rerate", f"{command.provider}/{command.model}", details
                )
            return await self._reratings.rerate(command)
