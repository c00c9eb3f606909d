"""The tenant that a request acts for: the credential's own, or the one that an operator names in the path."""

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.ids import TenantId
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.http.problem import HttpProblem
from services.console.access import INSTALLATION_PREFIX, is_allowed
from services.console.authentication import Principal
from services.console.problem import not_found
from services.console.self_access import needs_step_up
from services.console.sign_in.step_up import RFC_ERROR

PRINCIPAL = "keyferry.principal"
"""The key in a request's scope under which the middleware stores the principal."""
TRACED_TENANT = "keyferry.traced_tenant"
"""The key in a request's scope under which the tenant is stored that its spans belong to; missing until access is granted."""

WHILE_SUSPENDED = frozenset({"/api/v1/tenant/deletion"})
"""What members may still read of a suspended tenant: how far its deletion is, which suspends it."""
SUSPENDED = (
    "this tenant is suspended: its members can neither read nor change anything of it until an operator of the installation"
    " resumes it. If you are a member of another tenant, name that one in the header x-keyferry-tenant"
)
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
    step_up: str | None = None
    """The challenge for what needs a stronger or fresher sign-in; None if the sender's suffices."""
    teams: tuple[str, ...] = ()
    """The teams of the tenant that the member is in."""


def unknown_tenant() -> HttpProblem:
    """Return the error for a tenant that the sender is no member of: the same as for one that does not exist."""
    return not_found("there is no tenant of that name")


def require_step_up(context: TenantContext) -> None:
    """Check that the sender has authenticated as changes of provider keys need it. Raises HttpProblem 401 (RFC 9470)."""
    if context.step_up is not None:
        message = "this needs a stronger or fresher sign-in: open /auth/login?step_up=1, or run `keyferry login` again"
        headers = {"www-authenticate": context.step_up}
        raise HttpProblem(401, "authentication_error", RFC_ERROR, message, headers=headers)


async def resolve_principal(request: Request) -> Principal:
    """Return the sender of a request, for routes about nobody else. Raises HttpProblem 401."""
    principal = request.scope.get(PRINCIPAL)
    if not isinstance(principal, Principal):
        raise HttpProblem(401, "authentication_error", "invalid_api_key", "no credential")
    return principal


async def resolve_tenant_context(request: Request) -> TenantContext:
    """Return the tenant and the actor of a request. Raises HttpProblem 401 and 403."""
    principal = await resolve_principal(request)
    path = request.scope["route"].path
    if path.startswith(f"{INSTALLATION_PREFIX}/"):
        principal = _as_operator(principal)
    elif principal.unknown_tenant:
        raise unknown_tenant()
    elif principal.no_tenant is not None:
        raise HttpProblem(403, "permission_error", "no_tenant", principal.no_tenant)
    elif principal.suspended and path not in WHILE_SUSPENDED:
        raise HttpProblem(403, "permission_error", "tenant_suspended", SUSPENDED)
    if not is_allowed(principal.role, request.method, path):
        raise HttpProblem(403, "permission_error", "not_allowed", "your credential does not allow this")
    tenant = request.path_params.get("tenant", principal.tenant)
    # What an operator does is the installation's affair: its tenants have the audit log of it.
    request.scope[TRACED_TENANT] = PLATFORM_TENANT if principal.role is AccessRole.OPERATOR else tenant
    context = TenantContext(
        tenant, principal.actor, principal.role, principal.member, principal.step_up, principal.teams
    )
    if needs_step_up(request.method, path):
        require_step_up(context)
    return context


def _as_operator(principal: Principal) -> Principal:
    """Return a sender in the role in which it operates the installation, if it does: its own tenants do not matter then."""
    if not principal.operates:
        return principal
    return replace(principal, role=AccessRole.OPERATOR, tenant=PLATFORM_TENANT, member=None)


TenantInPath = Annotated[TenantId, Path(description="The tenant that an operator acts for")]


async def tenant_in_path(tenant: TenantInPath) -> None:
    """Declare the tenant in the path, so that invalid names are rejected and the OpenAPI document lists it."""


CurrentPrincipal = Annotated[Principal, Depends(resolve_principal)]
CurrentTenant = Annotated[TenantContext, Depends(resolve_tenant_context)]
