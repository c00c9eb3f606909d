"""Rules about internal services, a tenant's own programs on the bus. Pure."""

from datetime import UTC, datetime

from keyferry.contracts.internal_services import (
    MAX_PER_TENANT,
    CreateInternalService,
    InternalService,
    RevokeInternalService,
    raw_grant_key,
    raw_nkey,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from services.tenant_directory.tenants import RuleViolation


def register(command: CreateInternalService, owner: Tenant, live: int, now: datetime) -> InternalService:
    """Return the service that `command` registers for `owner` at `now`; the owner has `live` ones that are not revoked.

    Raises RuleViolation if the owner may have no new one, or if one key would serve both purposes.
    """
    if owner.tenant == PLATFORM_TENANT:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and makes no calls. Create a tenant for the program",
        )
    if owner.suspended:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"tenant {owner.tenant!r} is suspended, so the program's requests would be refused. End the suspension first",
        )
    if live >= MAX_PER_TENANT:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"tenant {owner.tenant!r} has {live} internal services, and may have {MAX_PER_TENANT}: revoke one that is not used"
            " any more, or let several processes of one program share its credentials",
        )
    if raw_nkey(command.nkey_public) == raw_grant_key(command.grant_public_key):
        raise RuleViolation(
            ErrorCode.INVALID,
            "nkey_public and grant_public_key are the same key: generate two, because the server chooses what an nkey signs",
        )
    return InternalService(
        tenant=owner.tenant,
        name=command.name,
        nkey_public=command.nkey_public,
        grant_public_key=command.grant_public_key,
        operations=command.operations,
        created_at=now.astimezone(UTC),
        created_by=command.actor,
    )


def revoke(service: InternalService, command: RevokeInternalService, now: datetime) -> InternalService:
    """Revoke `service` at `now`; one that is revoked already stays as it is."""
    if service.revoked_at is not None:
        return service
    return service.model_copy(update={"revoked_at": now.astimezone(UTC), "revoked_by": command.actor})


def describe(service: InternalService) -> dict[str, str]:
    """Return what the audit keeps of a service: its public keys, and its operations if they are limited."""
    keys = {"nkey_public": service.nkey_public, "grant_public_key": service.grant_public_key}
    return keys | ({} if service.operations is None else {"operations": ", ".join(service.operations)})


def name_taken(tenant: str, name: str) -> RuleViolation:
    """Return the error for a name that is in use."""
    return RuleViolation(
        ErrorCode.CONFLICT,
        f"tenant {tenant!r} has an internal service {name!r} already: revoke it first, which ends its connections, or choose"
        " another name",
    )


def key_reused() -> RuleViolation:
    """Return the error for a key that was registered before."""
    return RuleViolation(
        ErrorCode.CONFLICT, "one of these keys was registered before: generate new ones for each internal service"
    )


def unknown(tenant: str, name: str) -> RuleViolation:
    """Return the error for a service that the tenant does not have; the same for another tenant's."""
    return RuleViolation(
        ErrorCode.NOT_FOUND,
        f"tenant {tenant!r} has no internal service {name!r}: list its internal services to see the names",
    )
