"""Rules about sessions. Pure."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import Member
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.sessions import Session, StartSession
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, UpdateTenant
from services.tenant_directory.tenants import RuleViolation

MAX_SESSIONS_PER_USER = 50
_MANAGES = frozenset({AccessRole.OWNER, AccessRole.ADMIN})


def start(command: StartSession, session_id: str, user_id: str, members: list[Member], now: datetime) -> Session:
    """Return the session that `command` starts at `now`. All times are in UTC, so that equal sessions encode alike."""
    now = now.astimezone(UTC)
    return Session(
        session_id=session_id,
        user_id=user_id,
        name=command.name,
        email=command.email,
        operator=command.operator,
        tenant=members[0].tenant if len(members) == 1 else None,
        channel=command.channel,
        created_at=now,
        expires_at=now + timedelta(seconds=command.max_seconds),
        idle_seconds=command.idle_seconds,
        last_seen_at=now,
        acr=command.acr,
        amr=command.amr,
        auth_time=None if command.auth_time is None else command.auth_time.astimezone(UTC),
    )


def check_start(command: StartSession, now: datetime) -> None:
    """Raise RuleViolation if `command` can start no session."""
    if command.max_seconds <= 0 or command.idle_seconds <= 0:
        raise RuleViolation(
            ErrorCode.INVALID, "a session lives for at least a second: give max_seconds and idle_seconds"
        )
    if command.code_digest is not None and (command.code_expires_at is None or command.code_expires_at <= now):
        raise RuleViolation(ErrorCode.INVALID, "this code has expired: run `keyferry login` again for a new one")


def tier_changes(
    command: StartSession, members: list[Member], tenants: Collection[Tenant], user_id: str
) -> list[UpdateTenant]:
    """Return the changes of plans that a sign-in makes: of the tenants that claims have made the person an owner or admin of."""
    if command.tier is None:
        return []
    claimed = {membership.tenant for membership in command.memberships or ()}
    managed = {member.tenant for member in members if member.role in _MANAGES and member.tenant in claimed}
    return [
        UpdateTenant(tenant=tenant.tenant, tier=command.tier, actor=user_id)
        for tenant in tenants
        if tenant.tenant in managed and tenant.tier is not command.tier
    ]


def audited_tenants(operator: bool, members: Collection[Member]) -> list[str]:
    """Return the tenants in whose audit logs a session appears; an operator's, and a stranger's, in the platform's own."""
    tenants = [member.tenant for member in members]
    return tenants if tenants and not operator else [*tenants, PLATFORM_TENANT]


def code_used() -> RuleViolation:
    """Return the error for a code that is presented a second time."""
    return RuleViolation(ErrorCode.CONFLICT, "this code was used already: run `keyferry login` again for a new one")


def already_started() -> RuleViolation:
    """Return the error for a token that has a session already."""
    return RuleViolation(ErrorCode.CONFLICT, "this session exists already: sign in again")


def unknown() -> RuleViolation:
    """Return the error for a session that somebody does not have; the same for somebody else's."""
    return RuleViolation(
        ErrorCode.NOT_FOUND, "there is no such session, or it has ended: list the sessions to see their ids"
    )
