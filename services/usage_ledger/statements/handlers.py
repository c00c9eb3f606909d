"""Handlers of requests for statements. Each raises Refused."""

from collections.abc import Awaitable, Callable

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.statement_management import STATEMENT_GET, STATEMENT_LIST
from keyferry.contracts.statements import GetStatement, ListStatements, Statement, Statements
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.analytics.handlers import refuse_errors
from services.usage_ledger.statements.reports import NoSuchMonth, StatementReports


class StatementHandlers:
    """Handlers of one process."""

    def __init__(
        self,
        reports: StatementReports,
        require: Callable[[str], Awaitable[None]],
        tenant_of: Callable[[str], Tenant | None],
    ) -> None:
        self._reports = reports
        self._require = require
        self._tenant_of = tenant_of

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(STATEMENT_GET, self.get)
        bus.respond(STATEMENT_LIST, self.list_months)

    async def get(self, command: GetStatement) -> Statement:
        """Return the statement of one month."""
        tenant = await self._known(command.tenant)
        try:
            async with refuse_errors():
                return await self._reports.get(tenant, command)
        except NoSuchMonth as error:
            raise Refused(ErrorCode.NOT_FOUND, str(error)) from None

    async def list_months(self, command: ListStatements) -> Statements:
        """Return the months of a tenant."""
        tenant = await self._known(command.tenant)
        async with refuse_errors():
            return await self._reports.list_months(tenant)

    async def _known(self, name: str) -> Tenant:
        await self._require(name)
        tenant = self._tenant_of(name)
        if tenant is None:
            message = "the ledger does not know the tenants' zones yet: try again in a moment"
            raise Refused(ErrorCode.UNAVAILABLE, message)
        return tenant
