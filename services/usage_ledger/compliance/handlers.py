"""The handler of requests for compliance reports."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.compliance import ComplianceReport, GetComplianceReport
from keyferry.contracts.compliance_management import COMPLIANCE_GET
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.compliance.store import ComplianceStore
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.partitions.months import Retention
from services.usage_ledger.record_batches import assume_utc


class ComplianceHandlers:
    """Handlers of one process. They raise Refused."""

    def __init__(
        self,
        engine: AsyncEngine,
        require: Callable[[str], Awaitable[None]],
        tenant_of: Callable[[str], Tenant | None],
        retention: Retention,
    ) -> None:
        self._store = ComplianceStore(engine)
        self._require = require
        self._tenant_of = tenant_of
        self._retention = retention

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(COMPLIANCE_GET, self.report)

    async def report(self, command: GetComplianceReport) -> ComplianceReport:
        """Return the report of a tenant."""
        span = {"since": assume_utc(command.since), "until": assume_utc(command.until)}
        if span["until"] <= span["since"]:
            raise Refused(ErrorCode.INVALID, "the end of the report must be later than its beginning")
        await self._require(command.tenant)
        tenant = self._tenant_of(command.tenant)
        if tenant is None:
            message = "the ledger does not know the tenants' settings yet: try again in a moment"
            raise Refused(ErrorCode.UNAVAILABLE, message)
        with refuse_outages():
            found = await self._store.read(command.model_copy(update=span))
        return ComplianceReport(
            tenant=command.tenant,
            **span,
            content=tenant.content,
            content_days=tenant.content_days,
            attempts_kept_days=self._retention.attempts_days,
            decisions_kept_days=self._retention.decisions_days,
            **found._asdict(),
        )
