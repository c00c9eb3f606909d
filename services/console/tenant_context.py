"""The tenant that a request acts for: the credential's own, or the one that an operator names in the path."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.ids import TenantId
from keyferry.runtime.http.problem import HttpProblem
from services.console.access import is_allowed
from services.console.authentication import Principal

PRINCIPAL = "keyferry.principal"
"""The key in a request's scope under which the middleware stores the principal."""

DOCUMENTED_CREDENTIAL = HTTPBearer(auto_error=False, scheme_name="operator", description="The operator's token")
"""Declares the credential in the OpenAPI document only: the middleware authenticates before a route is looked up."""


@dataclass(frozen=True, slots=True)
class TenantContext:
    """The tenant that a request acts for, who acts, and in which role."""

    tenant: str
    actor: str
    """The name in the audit log."""
    role: AccessRole
    member: str | None = None
    """The member of the tenant who acts; None for an operator."""


async def resolve_tenant_context(request: Request) -> TenantContext:
    """Return the tenant and the actor of a request. Raises HttpProblem 401 and 403."""
    principal = request.scope.get(PRINCIPAL)
    if not isinstance(principal, Principal):
        raise HttpProblem(401, "authentication_error", "invalid_api_key", "no credential")
    if not is_allowed(principal.role, request.method, request.scope["route"].path):
        raise HttpProblem(403, "permission_error", "not_allowed", "your credential does not allow this")
    tenant = request.path_params.get("tenant", principal.tenant)
    return TenantContext(tenant, principal.actor, principal.role, principal.member)


TenantInPath = Annotated[TenantId, Path(description="The tenant that an operator acts for")]


async def tenant_in_path(tenant: TenantInPath) -> None:
    """Declare the tenant in the path, so that invalid names are rejected and the OpenAPI document lists it."""


CurrentTenant = Annotated[TenantContext, Depends(resolve_tenant_context)]
