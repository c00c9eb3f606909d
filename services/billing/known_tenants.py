"""The tenants, as far as this process knows them."""

import asyncio

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.views import KvView

_TRIES = 20
_RETRY_SECONDS = 0.05
"""The copy of the tenants may be behind by moments, and a tenant that was just created is to be found."""


class BillingTenants:
    """Finds tenants in the view of them."""

    def __init__(self, view: KvView[Tenant]) -> None:
        self._view = view

    def find(self, tenant: str) -> Tenant | None:
        """Return a tenant, or None if there is none. Raises BusError as long as the tenants are not known."""
        if not self._view.ready:
            raise BusError("the tenants are not known yet")
        return self._view.get(tenant)

    async def require(self, tenant: str) -> Tenant:
        """Return a tenant. Raises Refused if there is none, or it was deleted, and BusError as long as they are not known."""
        for _ in range(_TRIES):
            found = self.find(tenant)
            if found is not None and found.deleted_at is None:
                return found
            await asyncio.sleep(_RETRY_SECONDS)
        message = f"there is no tenant {tenant!r}: `keyferry tenants list` shows those that there are"
        raise Refused(ErrorCode.NOT_FOUND, message)
