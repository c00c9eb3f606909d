"""What may be done with a tenant."""

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, CreateTenant, Tenant, UpdateTenant
from services.tenant_directory.rejection import Rejected


def create(command: CreateTenant) -> Tenant:
    """The tenant that `command` asks for. Raises Rejected for the platform's reserved name."""
    if command.tenant == PLATFORM_TENANT:
        raise Rejected(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} is reserved: it owns the platform's own keys and exists from the start. Choose another name",
        )
    return Tenant(tenant=command.tenant, name=command.name, tier=command.tier)


def update(current: Tenant, command: UpdateTenant) -> Tenant:
    """`current` with what `command` changes. Raises Rejected when that is nothing, or for the platform's own tenant."""
    if current.tenant == PLATFORM_TENANT:
        raise Rejected(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and cannot be changed. Name the tenant that you mean",
        )
    changes = command.model_dump(exclude={"tenant"}, exclude_none=True)
    if not changes:
        raise Rejected(
            ErrorCode.INVALID,
            "nothing to change: give at least one of name, tier, suspended, key_policy, drop_unsupported and allow_unapproved",
        )
    return current.model_copy(update=changes)


def exists_already(tenant: str) -> Rejected:
    """What somebody is told who creates a tenant twice."""
    return Rejected(
        ErrorCode.CONFLICT, f"tenant {tenant!r} exists already: update it instead, or choose another name for a new one"
    )


def unknown(tenant: str) -> Rejected:
    """What somebody is told who names a tenant that is none."""
    return Rejected(
        ErrorCode.NOT_FOUND, f"there is no tenant {tenant!r}: list the tenants to see the names, or create it first"
    )
