"""Whether a tenant exists, as far as the ledger knows."""

import asyncio

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import KvView

_TRIES = 20
_RETRY_SECONDS = 0.05
"""The copy of the tenants may be behind by moments, and a tenant that was just created is to be found."""


class KnownTenants:
    """The names of all tenants."""

    def __init__(self, view: KvView[Tenant]) -> None:
        self._view = view

    def is_deleted(self, tenant: str) -> bool:
        """Return whether a tenant is known to be deleted."""
        found = self._view.get(tenant) if self._view.ready else None
        return found is not None and found.deleted_at is not None

    async def require(self, tenant: str) -> None:
        """Raise Refused if there is no such tenant. Passes as long as the tenants are not known."""
        for _ in range(_TRIES):
            if not self._view.ready or self._view.get(tenant) is not None:
                return
            await asyncio.sleep(_RETRY_SECONDS)
        message = (
            f"there is no tenant {tenant!r}, so nothing was changed: `keyferry tenants list` shows those that there are"
        )
        raise Refused(ErrorCode.NOT_FOUND, message)
