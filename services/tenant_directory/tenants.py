"""Rules about tenants, and the error of a violated rule. Pure."""

from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.limits import LimitChanges
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.subscriptions import ApplySubscription
from keyferry.contracts.tenancy import (
    DEFAULT_TIER,
    PLATFORM_TENANT,
    CreateTenant,
    Tenant,
    TierSource,
    UpdateTenant,
)


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
    source = None if command.tier is DEFAULT_TIER else TierSource.OPERATOR
    return Tenant(tenant=command.tenant, name=command.name, tier=command.tier, limits=limits, tier_set_by=source)


def update(current: Tenant, command: UpdateTenant) -> Tenant:
    """Apply the changes of `command`. Raises RuleViolation if there are none, or for the platform's own tenant."""
    if current.tenant == PLATFORM_TENANT:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and cannot be changed. Name the tenant that you mean",
        )
    if current.deleted_at is not None:
        raise deleted(current)
    changes = command.model_dump(exclude={"tenant", "actor", "limits", "follow_subscription"}, exclude_none=True)
    changes |= _tier_source(command)
    if command.limits is not None and command.limits.model_dump(exclude_none=True):
        changes["limits"] = command.limits.apply(current.limits)
    if not changes:
        raise RuleViolation(
            ErrorCode.INVALID,
            "nothing to change: give at least one of name, tier, suspended, key_policy, drop_unsupported, allow_unapproved,"
            " byok, content, content_days, time_zone, limits and follow_subscription",
        )
    return current.model_copy(update=changes)


def _tier_source(command: UpdateTenant) -> dict[str, TierSource | None]:
    """Return who decides the tier after a command. Raises RuleViolation for a tier that would be changed at once."""
    if command.follow_subscription:
        if command.tier is not None:
            raise RuleViolation(
                ErrorCode.INVALID,
                "give either `tier` or `follow_subscription`: a subscription would change the tier again",
            )
        return {"tier_set_by": None}
    return {} if command.tier is None else {"tier_set_by": TierSource.OPERATOR}


def apply_subscription(current: Tenant, command: ApplySubscription) -> Tenant:
    """Return the tenant with the tier of its subscription; unchanged if an operator has set the tier.

    A subscription that has ended changes only a tier that it had given. Raises RuleViolation for a deleted tenant.
    """
    if current.deleted_at is not None:
        raise deleted(current)
    if current.tier_set_by is TierSource.OPERATOR or current.tenant == PLATFORM_TENANT:
        return current
    if command.tier is not None:
        return current.model_copy(update={"tier": command.tier, "tier_set_by": TierSource.SUBSCRIPTION})
    if current.tier_set_by is None:
        return current
    return current.model_copy(update={"tier": command.without, "tier_set_by": None})


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
