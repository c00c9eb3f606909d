"""Answers the directory's requests to remove what a service has of a deleted tenant."""

from collections.abc import Awaitable, Callable

from keyferry.contracts.erasure import ErasedTenant, EraseTenant
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable

BEYOND_ITS_SCOPE = (
    "a tenant's role may not remove all of its own rows, such as recorded attempts; each statement names the tenant"
)
"""Why the handler works outside of the scope of the tenant."""


class ErasureHandler:
    """The handler of one process. `committed` is called after every step, so that views and audit are published."""

    def __init__(self, erase: Callable[[EraseTenant], Awaitable[ErasedTenant]], committed: Callable[[], None]) -> None:
        self._erase = erase
        self._committed = committed

    async def erase(self, command: EraseTenant) -> ErasedTenant:
        """Remove or count rows of a tenant. Raises Refused during an outage; what was removed by then stays removed."""
        try:
            return await self._erase(command)
        except DatabaseUnavailable:
            raise Refused(ErrorCode.UNAVAILABLE, "the database cannot be reached: the deletion goes on later") from None
        finally:
            self._committed()
