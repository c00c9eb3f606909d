"""For whom a request acts: the credential's own tenant, or the one that an operator names in the path."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from keyferry.contracts.ids import TenantId
from services.console.access import may
from services.console.credential import Caller
from services.console.problem import Problem

CALLER = "keyferry.caller"
"""Where the door leaves the caller, in the scope of a request."""

DOCUMENTED_CREDENTIAL = HTTPBearer(auto_error=False, scheme_name="operator", description="The operator's token")
"""Says in the OpenAPI document that a credential is needed. The door has judged it before a route is looked for."""


@dataclass(frozen=True, slots=True)
class Acting:
    """The tenant that a request is about, and what the audit calls whoever asks."""

    tenant: str
    actor: str


async def acting(request: Request) -> Acting:
    """The tenant and the actor of a request. Raises Problem 401 and 403."""
    caller = request.scope.get(CALLER)
    if not isinstance(caller, Caller):
        raise Problem(401, "authentication_error", "invalid_api_key", "no credential")
    if not may(caller.credential, request.method, request.scope["route"].path):
        raise Problem(403, "permission_error", "not_allowed", "your credential does not allow this")
    return Acting(request.path_params.get("tenant", caller.tenant), caller.actor)


async def tenant_in_path(tenant: Annotated[TenantId, Path(description="For whom an operator acts")]) -> None:
    """Declares the path's tenant, so that what is no tenant's name is refused and the document knows of it."""


For = Annotated[Acting, Depends(acting)]
