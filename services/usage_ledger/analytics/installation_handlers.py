"""The handler of figures about all tenants. It raises Refused."""

from keyferry.contracts.ledger_management import ANALYTICS_ANALYZE
from keyferry.contracts.operator_analytics import AnalyzeInstallation, InstallationAnalytics
from keyferry.runtime.bus.connection import Bus
from services.usage_ledger.analytics.handlers import refuse_errors
from services.usage_ledger.analytics.installation import InstallationReports


class InstallationHandlers:
    """Handlers of one process."""

    def __init__(self, reports: InstallationReports) -> None:
        self._reports = reports

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the subject."""
        bus.respond(ANALYTICS_ANALYZE, self.analyze)

    async def analyze(self, command: AnalyzeInstallation) -> InstallationAnalytics:
        """Return figures about all tenants."""
        async with refuse_errors():
            return await self._reports.analyze(command)
