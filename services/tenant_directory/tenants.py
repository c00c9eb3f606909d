"""Rules about tenants, and the error of a violated rule. Pure."""

from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.limits import LimitChanges
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, CreateTenant, Tenant, UpdateTenant


class RuleViolation(Exception):
    """A command breaks a rule of the directory; the message says what to do instead."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def create(command: CreateTenant) -> Tenant:
    """Create the tenant of `command`. Raises RuleViolation for the platform's reserved name."""
    if command.tenant == PLATFORM_TENANT:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} is reserved: it owns the platform's own keys and always exists. Choose another name",
        )
    limits = None if command.limits is None else command.limits.apply(None)
    return Tenant(tenant=command.tenant, name=command.name, tier=command.tier, limits=limits)


def update(current: Tenant, command: UpdateTenant) -> Tenant:
    """Apply the changes of `command`. Raises RuleViolation if there are none, or for the platform's own tenant."""
    if current.tenant == PLATFORM_TENANT:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and cannot be changed. Name the tenant that you mean",
        )
    if current.deleted_at is not None:
        raise deleted(current)
    changes = command.model_dump(exclude={"tenant", "actor", "limits"}, exclude_none=True)
    if command.limits is not None and command.limits.model_dump(exclude_none=True):
        changes["limits"] = command.limits.apply(current.limits)
    if not changes:
        raise RuleViolation(
            ErrorCode.INVALID,
            "nothing to change: give at least one of name, tier, suspended, key_policy, drop_unsupported, allow_unapproved,"
            " byok, content, content_days, time_zone and limits",
        )
    return current.model_copy(update=changes)


def describe_update(before: Tenant, after: Tenant) -> dict[str, str]:
    """Return the former and the new values of what was changed, for the audit."""
    return describe_changes(before.model_dump(mode="json"), after.model_dump(mode="json"))


def describe_limits(changes: LimitChanges | None) -> dict[str, str]:
    """Return the limits that a command sets, by name, for the audit."""
    return (
        {} if changes is None else {name: str(value) for name, value in changes.model_dump(exclude_none=True).items()}
    )


def deleted(tenant: Tenant) -> RuleViolation:
    """Return the error for a change of a tenant that was deleted."""
    return RuleViolation(
        ErrorCode.CONFLICT,
        f"{tenant.tenant} was deleted, for good, and its id is never given again: create a tenant with another name",
    )


def already_exists(tenant: str) -> RuleViolation:
    """Return the error for creating a tenant twice."""
    return RuleViolation(
        ErrorCode.CONFLICT,
        f"tenant {tenant!r} exists already, or was deleted: update it instead, or choose another name for a new one",
    )


def unknown(tenant: str) -> RuleViolation:
    """Return the error for an unknown tenant."""
    return RuleViolation(
        ErrorCode.NOT_FOUND, f"there is no tenant {tenant!r}: list the tenants to see the names, or create it first"
    )
