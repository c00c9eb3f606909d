"""How the directory refuses a request: because of a rule that it breaks, or of an outage of the database."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.tenant_directory.tenants import RuleViolation

UNKNOWN_OUTCOME = "so it is unknown whether the change was made: list first, then try again"
"""What follows for a change from an outage."""


def reading() -> AbstractAsyncContextManager[None]:
    """Refuse a request that only reads, on a violated rule or an outage."""
    return refuse_errors("so it cannot list them: try again in a moment")


@asynccontextmanager
async def refuse_errors(consequence: str) -> AsyncIterator[None]:
    """Refuse the request on a violated rule or an outage."""
    try:
        yield
    except RuleViolation as error:
        raise Refused(error.code, error.message) from None
    except DatabaseUnavailable:
        message = f"the tenant directory cannot reach its database, {consequence}; `keyferry doctor` shows the cause"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
