"""Which tenants may be deleted, and what stays of one. Pure."""

from datetime import UTC, datetime

from keyferry.contracts.erasure import DeleteTenant
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from services.tenant_directory.tenants import RuleViolation

DELETED_NAME = "deleted"
"""The name of a deleted tenant: its own is removed."""


def check(tenant: Tenant, command: DeleteTenant) -> None:
    """Check that a tenant may be deleted and was named twice. Raises RuleViolation."""
    if tenant.tenant == PLATFORM_TENANT:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and cannot be deleted. Name another tenant",
        )
    if command.confirm != command.tenant:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"to delete {tenant.tenant} for good, with its keys, confirm with the same name: nothing was deleted",
        )


def without_details(tenant: Tenant, now: datetime) -> Tenant:
    """Return what stays of a tenant: its id, so that nobody else gets it, and its tier, which its charges were computed by."""
    return Tenant(
        tenant=tenant.tenant, name=DELETED_NAME, tier=tenant.tier, suspended=True, deleted_at=now.astimezone(UTC)
    )


def not_deleted(tenant: str) -> RuleViolation:
    """Return the error for a report of a deletion that was never requested."""
    return RuleViolation(
        ErrorCode.NOT_FOUND,
        f"{tenant} was not deleted, so there is no report: `keyferry tenants delete {tenant} --confirm {tenant}` deletes it",
    )
