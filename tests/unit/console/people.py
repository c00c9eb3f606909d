"""People of two tenants, and the operator, as the middleware would identify them."""

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from services.console.authentication import OPERATOR, Principal


def person(role: AccessRole, tenant: str = "acme", member: str = "ann") -> Principal:
    """Return a principal of this role; the operator is of no tenant."""
    if role is AccessRole.OPERATOR:
        return OPERATOR
    return Principal(role, tenant, f"member:{member}", member)


ROLES = (*TENANT_ROLES, AccessRole.OPERATOR)
