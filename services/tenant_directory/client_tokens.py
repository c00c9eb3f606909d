"""Rules about client tokens. Pure."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, ClientToken, CreateClientToken, Tenant, UpdateClientToken
from keyferry.contracts.token_scope import SCOPES
from services.tenant_directory.tenants import RuleViolation

_CHANGEABLE = ("label", *SCOPES)
"""Fields of `UpdateClientToken` whose value becomes the token's."""


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
        allowed_operations=command.allowed_operations,
        allowed_apis=command.allowed_apis,
        allowed_origins=command.allowed_origins,
        limits=None if command.limits is None else command.limits.apply(None),
        team=command.team,
        member=command.member,
        created_at=now.astimezone(UTC),
        expires_at=_expiry(command.expires_at, now),
    )


def revoke(token: ClientToken, now: datetime) -> ClientToken:
    """Revoke `token` at `now`; an already revoked token keeps its time."""
    return token if token.revoked_at else token.model_copy(update={"revoked_at": now.astimezone(UTC)})


def update(token: ClientToken, command: UpdateClientToken, now: datetime) -> ClientToken:
    """Apply the changes of `command` at `now`. Raises RuleViolation if there are none, or if the token is revoked."""
    changes: dict[str, object] = {name: value for name in _CHANGEABLE if (value := getattr(command, name)) is not None}
    if command.expires_at is not None:
        changes["expires_at"] = _expiry(command.expires_at, now)
    for name in command.clear:
        if name in changes:
            raise RuleViolation(ErrorCode.INVALID, f"{name} is both set and cleared: do one of the two")
        changes[name] = None
    if command.limits is not None and command.limits.model_dump(exclude_none=True):
        changes["limits"] = command.limits.apply(token.limits)
    if command.disabled is not None:
        changes["disabled_at"] = (token.disabled_at or now.astimezone(UTC)) if command.disabled else None
    if not changes:
        raise RuleViolation(
            ErrorCode.INVALID,
            "nothing to change: give at least one of label, models, operations, APIs, origins, expiry, disabled and limits",
        )
    _refuse_revoked(token)
    return token.model_copy(update=changes)


def describe_update(before: ClientToken, after: ClientToken) -> dict[str, str]:
    """Return the former and the new values of what was changed, for the audit."""
    return describe_changes(before.model_dump(mode="json"), after.model_dump(mode="json"))


def describe_scopes(token: ClientToken) -> dict[str, str]:
    """Return what a token is limited to, by field, for the audit."""
    scopes = token.model_dump(mode="json", include={*SCOPES}, exclude_none=True)
    return {name: describe_value(value) for name, value in scopes.items()}


def describe_value(value: object) -> str:
    """Return a value as the audit shows it."""
    if isinstance(value, list):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def overlap_end(token: ClientToken, overlap_seconds: int, now: datetime) -> datetime:
    """Return until when the current secret of `token` stays valid once it is replaced at `now`.

    Raises RuleViolation if the token is revoked, or if a third secret would be valid.
    """
    _refuse_revoked(token)
    if token.previous is not None and overlap_seconds:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            "the secret before the current one is still accepted, until"
            f" {token.previous.valid_until.isoformat(timespec='seconds')}: end that overlap first, or rotate with an overlap of"
            " 0, which ends all older secrets at once",
        )
    return now.astimezone(UTC) + timedelta(seconds=overlap_seconds)


def check_team(tenant: str, team: str, teams: Collection[str]) -> None:
    """Raise RuleViolation if a tenant has teams, and not this one: a misspelt name would have no preferences and no budget."""
    if teams and team not in teams:
        raise RuleViolation(
            ErrorCode.NOT_FOUND,
            f"tenant {tenant!r} has teams, and none is {team!r}: list them, or create this one first",
        )


def check_member(tenant: str, member: str, members: Collection[str]) -> None:
    """Raise RuleViolation if a tenant has members, and this is no id of one."""
    if members and member not in members:
        raise RuleViolation(
            ErrorCode.NOT_FOUND,
            f"tenant {tenant!r} has members, and none has the id {member!r}: list them to see the ids",
        )


def no_overlap() -> RuleViolation:
    """Return the error for ending an overlap where there is none."""
    return RuleViolation(ErrorCode.CONFLICT, "only the current secret of this client token is accepted: nothing to end")


def _refuse_revoked(token: ClientToken) -> None:
    if token.revoked_at is not None:
        raise RuleViolation(ErrorCode.CONFLICT, "this client token is revoked, for good: create another one")


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
