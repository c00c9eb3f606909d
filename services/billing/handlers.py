"""Handlers of the billing that belong to none of its parts: the deletion of a tenant."""

from collections.abc import Awaitable, Callable

from keyferry.contracts.erasure import ErasedTenant, EraseTenant
from keyferry.contracts.erasure_management import TENANT_ERASE_BILLING
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.erasure import TenantEraser
from keyferry.runtime.database.erasure_handler import BEYOND_ITS_SCOPE, ErasureHandler
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.tenant_data import TENANT_TABLES


class BillingHandlers:
    """The handlers of one process. `end_subscription` ends what a deleted tenant pays each month; it raises Refused."""

    def __init__(self, database: ServiceDatabase, end_subscription: Callable[[EraseTenant], Awaitable[None]]) -> None:
        self._end_subscription = end_subscription
        eraser = TenantEraser(database.engine, database.schema.name, TENANT_TABLES, None)
        self._erasure = ErasureHandler(eraser.erase, database.wake)

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to these subjects of the topology."""
        bus.respond(TENANT_ERASE_BILLING, self.erase, all_tenants=BEYOND_ITS_SCOPE)

    async def erase(self, command: EraseTenant) -> ErasedTenant:
        """Remove or count rows of a tenant, whose subscription ends first. Raises Refused during an outage, of Stripe's too."""
        if not command.count_only:
            await self._end_subscription(command)
        return await self._erasure.erase(command)
