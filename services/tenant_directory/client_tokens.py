"""What may be done with a client token."""

from datetime import UTC, datetime

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, ClientToken, CreateClientToken, RevokeClientToken, Tenant
from services.tenant_directory.rejection import Rejected


def register(command: CreateClientToken, owner: Tenant, token_id: str, now: datetime) -> ClientToken:
    """The client token that `command` registers for `owner` at `now`. All times are in UTC, so that equal tokens encode alike.

    Raises Rejected when the owner may have no new token, or when the token would be of no use.
    """
    if owner.tenant == PLATFORM_TENANT:
        raise Rejected(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and calls nothing. Create a tenant for whoever is to call",
        )
    if owner.suspended:
        raise Rejected(
            ErrorCode.CONFLICT,
            f"tenant {owner.tenant!r} is suspended, so the token would open nothing. End the suspension first",
        )
    return ClientToken(
        token_id=token_id,
        tenant=owner.tenant,
        label=command.label,
        last4=command.last4,
        allowed_models=command.allowed_models,
        created_at=now.astimezone(UTC),
        expires_at=_expiry(command.expires_at, now),
    )


def revoke(token: ClientToken, now: datetime) -> ClientToken:
    """`token`, revoked at `now`; one that is revoked keeps its time."""
    return token if token.revoked_at else token.model_copy(update={"revoked_at": now.astimezone(UTC)})


def registered_already() -> Rejected:
    """What somebody is told who registers a digest twice."""
    return Rejected(ErrorCode.CONFLICT, "this client token is registered already. Mint another one and register that")


def unknown(command: RevokeClientToken) -> Rejected:
    """What somebody is told who revokes a token that the tenant does not have; another tenant's is no different."""
    return Rejected(
        ErrorCode.NOT_FOUND,
        f"tenant {command.tenant!r} has no client token {command.token_id!r}: list its tokens to see the ids",
    )


def _expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise Rejected(
            ErrorCode.INVALID,
            "expires_at does not say its time zone: end it with Z for UTC, or with an offset like +02:00",
        )
    if expires_at <= now:
        raise Rejected(ErrorCode.INVALID, "expires_at is in the past: give a later time, or leave it out for no expiry")
    return expires_at.astimezone(UTC)
