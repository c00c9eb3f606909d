"""Rules about client tokens. Pure."""

from datetime import UTC, datetime

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, ClientToken, CreateClientToken, Tenant, UpdateClientToken
from services.tenant_directory.tenants import RuleViolation


def register(command: CreateClientToken, owner: Tenant, token_id: str, now: datetime) -> ClientToken:
    """Return the client token that `command` registers for `owner` at `now`.

    All times are in UTC, so that equal tokens encode alike. Raises RuleViolation if the owner may have no new token, or if the
    token could never be used.
    """
    if owner.tenant == PLATFORM_TENANT:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and makes no calls. Create a tenant for the caller",
        )
    if owner.suspended:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"tenant {owner.tenant!r} is suspended, so the token would not be accepted. End the suspension first",
        )
    return ClientToken(
        token_id=token_id,
        tenant=owner.tenant,
        label=command.label,
        last4=command.last4,
        allowed_models=command.allowed_models,
        limits=None if command.limits is None else command.limits.apply(None),
        team=command.team,
        member=command.member,
        created_at=now.astimezone(UTC),
        expires_at=_expiry(command.expires_at, now),
    )


def revoke(token: ClientToken, now: datetime) -> ClientToken:
    """Revoke `token` at `now`; an already revoked token keeps its time."""
    return token if token.revoked_at else token.model_copy(update={"revoked_at": now.astimezone(UTC)})


def update(token: ClientToken, command: UpdateClientToken) -> ClientToken:
    """Apply the changes of `command`. Raises RuleViolation if there are none, or if the token is revoked."""
    if command.limits is None or not command.limits.model_dump(exclude_none=True):
        raise RuleViolation(ErrorCode.INVALID, "nothing to change: give at least one of rpm, tpm and concurrency")
    if token.revoked_at is not None:
        raise RuleViolation(ErrorCode.CONFLICT, "this client token is revoked, for good: create another one")
    return token.model_copy(update={"limits": command.limits.apply(token.limits)})


def already_registered() -> RuleViolation:
    """Return the error for registering a digest twice."""
    return RuleViolation(
        ErrorCode.CONFLICT, "this client token is already registered. Create another one and register that"
    )


def unknown(tenant: str, token_id: str) -> RuleViolation:
    """Return the error for a token that the tenant does not have; the same for another tenant's token."""
    return RuleViolation(
        ErrorCode.NOT_FOUND,
        f"tenant {tenant!r} has no client token {token_id!r}: list its tokens to see the ids",
    )


def _expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise RuleViolation(
            ErrorCode.INVALID,
            "expires_at has no time zone: end it with Z for UTC, or with an offset like +02:00",
        )
    if expires_at <= now:
        raise RuleViolation(
            ErrorCode.INVALID, "expires_at is in the past: give a later time, or leave it out for no expiry"
        )
    return expires_at.astimezone(UTC)
