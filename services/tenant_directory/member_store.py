"""Members in PostgreSQL, and what sign-in does to them.

Each change locks the tenant's row first, so that the changes of one tenant's people follow one another: two owners cannot remove
each other at once. It is committed together with the entries of the view and the audit event. The functions on a connection are
for sign-in, which has a transaction of its own; they raise RuleViolation, and SQLAlchemyError.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import (
    GetMember,
    Member,
    MemberRemoved,
    MembershipCommand,
    MemberState,
    RemoveMember,
    UpdateMember,
)
from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.runtime.database.outbox import enqueue
from services.tenant_directory import members, tenants
from services.tenant_directory.claims import clean_email, clean_name
from services.tenant_directory.client_token_store import list_named_tokens, revoke_named_tokens
from services.tenant_directory.member_tables import (
    invitations_table,
    members_table,
    team_members_table,
    teams_table,
)
from services.tenant_directory.tables import outbox, tenants_table
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction

EndSessions = Callable[[AsyncConnection, str, str], Awaitable[None]]
"""Ends the sessions of a user in a tenant, in the transaction: `(connection, tenant, user_id)`."""

_CHANGEABLE = {"user_id", "email", "name", "role", "state", "source", "last_signed_in_at"}


async def end_no_sessions(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    """End none: for a directory without sign-in."""


class MemberStore:
    """The table of members. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule.

    `end_sessions` is called for who is removed or suspended, within the transaction.
    """

    def __init__(self, engine: AsyncEngine, end_sessions: EndSessions = end_no_sessions) -> None:
        self._engine = engine
        self._end_sessions = end_sessions

    async def list_members(self, tenant: str) -> list[Member]:
        """Return a tenant's members, in the order in which they came."""
        async with transaction(self._engine) as connection:
            await require_tenant(connection, tenant)
            return await read_members(connection, members_table.c.tenant == tenant)

    async def get_member(self, query: GetMember) -> Member:
        """Return one member."""
        async with transaction(self._engine) as connection:
            await require_tenant(connection, query.tenant)
            return await read_member(connection, query.tenant, query.member_id)

    async def update_member(self, command: UpdateMember, now: datetime) -> Member:
        """Change a member. Guard: the tenant's row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            await lock_tenant(connection, command.tenant)
            acting = await acting_role(connection, command)
            member = await read_member(connection, command.tenant, command.member_id)
            owners = await count_owners(connection, command.tenant)
            changed = members.update(member, command, acting, owners, await team_names(connection, command.tenant))
            await save_member(connection, member, changed)
            if changed.state is MemberState.SUSPENDED and member.state is not changed.state:
                await self._leave(connection, changed, now)
            elif members.is_above(member.role, changed.role):
                await revoke_invitations_of(connection, changed, now)
            details = members.describe_changes(member, changed)
            await record_audit(connection, command.actor, "member.update", command.tenant, member.member_id, details)
        return changed

    async def remove_member(self, command: RemoveMember, now: datetime) -> MemberRemoved:
        """Remove a member, with client tokens if that is wanted. Guard: the tenant's row lock."""
        async with transaction(self._engine) as connection:
            await lock_tenant(connection, command.tenant)
            acting = await acting_role(connection, command)
            member = await read_member(connection, command.tenant, command.member_id)
            members.check_removal(member, acting, await count_owners(connection, command.tenant))
            tokens, count = await list_named_tokens(connection, command.tenant, member=member.member_id)
            if command.revoke_tokens:
                await revoke_named_tokens(connection, command.tenant, member.member_id, now)
            await self._leave(connection, member, now)
            await connection.execute(delete(members_table).where(_is(command.tenant, member.member_id)))
            await enqueue(connection, outbox, MEMBERS_VIEW.name, view_key(member), None)
            details = {
                "email": members.mask_email(member.email),
                "role": member.role.value,
                "client_tokens": f"{count} {'revoked' if command.revoke_tokens else 'left'}",
            }
            await record_audit(connection, command.actor, "member.remove", command.tenant, member.member_id, details)
        return MemberRemoved(
            member=member, client_tokens=tokens, client_token_count=count, revoked=command.revoke_tokens
        )

    async def _leave(self, connection: AsyncConnection, member: Member, now: datetime) -> None:
        """End the sessions of a member, and the invitations that they have sent."""
        if member.user_id is not None:
            await self._end_sessions(connection, member.tenant, member.user_id)
        await revoke_invitations_of(connection, member, now)


async def revoke_invitations_of(connection: AsyncConnection, member: Member, now: datetime) -> None:
    """Revoke the open invitations of a member who may do less now: they could come back by them under another name."""
    columns = invitations_table.c
    theirs = (columns.tenant == member.tenant) & (columns.created_by_member == member.member_id)
    still_open = columns.accepted_at.is_(None) & columns.revoked_at.is_(None)
    await connection.execute(update(invitations_table).where(theirs & still_open).values(revoked_at=_utc(now)))


async def apply_claims(
    connection: AsyncConnection,
    *,
    tenant: str,
    user_id: str,
    email: str | None,
    name: str | None,
    role: AccessRole,
    now: datetime,
) -> Member:
    """Return the member that an identity provider's claims make a user at sign-in, or make of the one that they are.

    The role follows the claims, except that the last active owner stays one. A suspended member stays suspended: look at `state`
    before anything is allowed. `email` and `name` may be any text. Raises RuleViolation for a tenant that gets no new members.
    """
    owner = await lock_tenant(connection, tenant)
    chosen = (members_table.c.tenant == tenant) & (members_table.c.user_id == user_id)
    present = next(iter(await read_members(connection, chosen)), None)
    if present is None:
        members.check_tenant(owner)
        members.check_space(await count_members(connection, tenant))
    found = members.from_claims(
        present,
        tenant=tenant,
        member_id=ids.new(ids.MEMBER),
        user_id=user_id,
        role=role,
        owners=await count_owners(connection, tenant),
        now=now,
    )
    updates = {"email": clean_email(email), "name": clean_name(name) or found.name, "last_signed_in_at": _utc(now)}
    found = found.model_copy(update=updates)
    if present is None:
        await add_member(connection, found)
        details = {"role": found.role.value, "email": members.mask_email(found.email), "source": found.source.value}
        await record_audit(connection, user_id, "member.create", tenant, found.member_id, details)
        return found
    await save_member(connection, present, found)
    if members.is_above(present.role, found.role):
        await revoke_invitations_of(connection, found, now)
    if details := members.describe_changes(present, found):
        await record_audit(connection, user_id, "member.update", tenant, found.member_id, details)
    return found


async def memberships_of(connection: AsyncConnection, user_id: str) -> list[Member]:
    """Return what a user is a member of, suspended memberships included, sorted by tenant."""
    found = await read_members(connection, members_table.c.user_id == user_id)
    return sorted(found, key=lambda member: member.tenant)


async def note_sign_in(connection: AsyncConnection, user_id: str, now: datetime) -> None:
    """Record that a user has signed in, for everything that they are a member of.

    The time alone is written: a role or a state that somebody changes meanwhile stays as they have set it.
    """
    theirs = members_table.c.user_id == user_id
    await connection.execute(update(members_table).where(theirs).values(last_signed_in_at=_utc(now)))
    for member in await memberships_of(connection, user_id):
        await publish_member(connection, member)


async def acting_role(connection: AsyncConnection, command: MembershipCommand) -> AccessRole:
    """Return the role in which a command is carried out, by what its member is now. Raises RuleViolation."""
    chosen = _is(command.tenant, command.actor_member or "")
    found = await read_members(connection, chosen) if command.actor_member else []
    return members.acting_role(command, next(iter(found), None))


async def add_member(connection: AsyncConnection, member: Member) -> None:
    """Add a member with their teams. Raises IntegrityError if the user is a member already; lock the tenant and look first."""
    values = member.model_dump(exclude={"teams"})
    await connection.execute(insert(members_table).values(**values))
    await _save_teams(connection, member, set())
    await publish_member(connection, member)


async def save_member(connection: AsyncConnection, before: Member, after: Member) -> None:
    """Store the changes of a member, and publish it."""
    values = after.model_dump(include=_CHANGEABLE)
    await connection.execute(update(members_table).where(_is(after.tenant, after.member_id)).values(**values))
    await _save_teams(connection, after, set(before.teams))
    await publish_member(connection, after)


async def publish_member(connection: AsyncConnection, member: Member) -> None:
    """Write a member's entry of the view once the transaction is committed."""
    await enqueue(connection, outbox, MEMBERS_VIEW.name, view_key(member), member.encode())


async def member_entries(connection: AsyncConnection) -> dict[str, bytes]:
    """Return the entries of the view of members."""
    return {view_key(member): member.encode() for member in await read_members(connection)}


async def read_member(connection: AsyncConnection, tenant: str, member_id: str) -> Member:
    """Return one member. Raises RuleViolation if the tenant has none with this id."""
    found = await read_members(connection, _is(tenant, member_id))
    if not found:
        raise members.unknown(tenant, member_id)
    return found[0]


async def read_members(connection: AsyncConnection, *chosen: ColumnElement[bool]) -> list[Member]:
    """Return the chosen members with their teams, in the order in which they came."""
    columns = members_table.c
    joined = members_table.outerjoin(
        team_members_table,
        (team_members_table.c.tenant == columns.tenant) & (team_members_table.c.member_id == columns.member_id),
    )
    teams = func.array_remove(func.array_agg(team_members_table.c.team), None).label("teams")
    query = (
        select(members_table, teams)
        .select_from(joined)
        .where(*chosen)
        .group_by(columns.tenant, columns.member_id)
        .order_by(columns.created_at, columns.member_id)
    )
    return [_member(dict(row._mapping)) for row in await connection.execute(query)]


async def count_owners(connection: AsyncConnection, tenant: str) -> int:
    """Return how many active owners a tenant has."""
    columns = members_table.c
    owners = (columns.role == AccessRole.OWNER.value) & (columns.state == MemberState.ACTIVE.value)
    return await _count(connection, (columns.tenant == tenant) & owners)


async def count_members(connection: AsyncConnection, tenant: str) -> int:
    """Return how many members a tenant has, suspended ones included."""
    return await _count(connection, members_table.c.tenant == tenant)


async def team_names(connection: AsyncConnection, tenant: str) -> list[str]:
    """Return the names of a tenant's teams."""
    query = select(teams_table.c.team).where(teams_table.c.tenant == tenant)
    return list((await connection.scalars(query)).all())


async def require_tenant(connection: AsyncConnection, tenant: str) -> None:
    """Raise RuleViolation if there is no such tenant."""
    if await connection.scalar(select(tenants_table.c.tenant).where(tenants_table.c.tenant == tenant)) is None:
        raise tenants.unknown(tenant)


def view_key(member: Member) -> str:
    """Return the key of a member's entry in the view."""
    return f"{member.tenant}.{member.member_id}"


async def _save_teams(connection: AsyncConnection, member: Member, before: Iterable[str]) -> None:
    columns = team_members_table.c
    if left := set(before) - set(member.teams):
        theirs = (columns.tenant == member.tenant) & (columns.member_id == member.member_id) & columns.team.in_(left)
        await connection.execute(delete(team_members_table).where(theirs))
    rows = [
        {"tenant": member.tenant, "team": team, "member_id": member.member_id}
        for team in member.teams
        if team not in set(before)
    ]
    if rows:
        await connection.execute(insert(team_members_table), rows)


async def _count(connection: AsyncConnection, chosen: ColumnElement[bool]) -> int:
    return await connection.scalar(select(func.count()).select_from(members_table).where(chosen)) or 0


def _is(tenant: str, member_id: str) -> ColumnElement[bool]:
    return (members_table.c.tenant == tenant) & (members_table.c.member_id == member_id)


def _member(values: dict[str, object]) -> Member:
    member = Member.model_validate(values)
    return member.model_copy(
        update={
            "created_at": _utc(member.created_at),
            "last_signed_in_at": None if member.last_signed_in_at is None else _utc(member.last_signed_in_at),
            "teams": sorted(member.teams),
        }
    )


def _utc(moment: datetime) -> datetime:
    """Convert to UTC: PostgreSQL returns the session's time zone, and the bytes in a view must not depend on it."""
    return moment.astimezone(UTC)
