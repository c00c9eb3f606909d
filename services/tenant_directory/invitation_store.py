"""Invitations in PostgreSQL. Each change locks the tenant's row first, like those of members."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts import ids
from keyferry.contracts.membership import (
    AcceptInvitation,
    CreateInvitation,
    Invitation,
    Member,
    RevokeInvitation,
    SignedInPerson,
)
from services.tenant_directory import invitations, members
from services.tenant_directory.member_store import (
    acting_role,
    add_member,
    count_members,
    read_members,
    require_tenant,
    team_names,
)
from services.tenant_directory.member_tables import invitations_table, members_table
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction

_MAX_LISTED = 1000


class InvitationStore:
    """The table of invitations. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create_invitation(self, command: CreateInvitation, now: datetime) -> Invitation:
        """Add an invitation, and forget those that ended long ago. Guards: the tenant's row lock, the unique digest."""
        async with transaction(self._engine) as connection:
            members.check_tenant(await lock_tenant(connection, command.tenant))
            members.check_grant(command.role, await acting_role(connection, command))
            members.check_teams(command.teams, await team_names(connection, command.tenant))
            members.check_space(await count_members(connection, command.tenant))
            await connection.execute(delete(invitations_table).where(_ended_long_ago(command.tenant, now)))
            emails = await connection.scalars(
                select(members_table.c.email).where(members_table.c.tenant == command.tenant)
            )
            present = await _read(connection, invitations_table.c.tenant == command.tenant)
            made = invitations.create(command, ids.new(ids.INVITATION), present, emails.all(), now)
            values = made.model_dump() | {"digest": command.digest, "created_by_member": command.actor_member}
            await connection.execute(insert(invitations_table).values(**values))
            details = {"email": members.mask_email(made.email), "role": made.role.value} | (
                {"teams": " ".join(made.teams)} if made.teams else {}
            )
            await record_audit(connection, command.actor, "invitation.create", made.tenant, made.invitation_id, details)
        return made

    async def list_invitations(self, tenant: str) -> list[Invitation]:
        """Return a tenant's invitations, the newest first."""
        async with transaction(self._engine) as connection:
            await require_tenant(connection, tenant)
            return await _read(connection, invitations_table.c.tenant == tenant)

    async def revoke_invitation(self, command: RevokeInvitation, now: datetime) -> Invitation:
        """Revoke an open invitation; a second time changes nothing. Guard: the tenant's row lock."""
        async with transaction(self._engine) as connection:
            await lock_tenant(connection, command.tenant)
            await acting_role(connection, command)
            chosen = _is(command.tenant, command.invitation_id)
            found = await _read(connection, chosen)
            if not found:
                raise invitations.unknown(command.tenant, command.invitation_id)
            revoked = invitations.revoke(found[0], now)
            if revoked is not found[0]:
                await connection.execute(update(invitations_table).where(chosen).values(revoked_at=revoked.revoked_at))
                details = {"email": members.mask_email(revoked.email), "role": revoked.role.value}
                await record_audit(
                    connection, command.actor, "invitation.revoke", revoked.tenant, revoked.invitation_id, details
                )
        return revoked

    async def accept_invitation(self, command: AcceptInvitation, now: datetime) -> Member:
        """Make the person a member. Guards: the tenant's row lock, and the unique user of a tenant."""
        async with transaction(self._engine) as connection:
            return await accept_invitation(connection, command.digest, command.person, now)


async def accept_invitation(connection: AsyncConnection, digest: str, person: SignedInPerson, now: datetime) -> Member:
    """Make `person` a member by the digest of an invitation's code. Raises RuleViolation.

    The invitation is used only if that succeeds. Teams that were removed since are left out.
    """
    by_digest = invitations_table.c.digest == digest
    tenant = await connection.scalar(select(invitations_table.c.tenant).where(by_digest))
    if tenant is None:
        raise invitations.unknown_code()
    owner = await lock_tenant(connection, tenant)
    found = await _read(connection, by_digest)
    if not found:
        raise invitations.unknown_code()
    member = invitations.accept(found[0], person, ids.new(ids.MEMBER), now)
    members.check_tenant(owner)
    members.check_space(await count_members(connection, tenant))
    columns = members_table.c
    if await read_members(connection, (columns.tenant == tenant) & (columns.user_id == person.user_id)):
        raise invitations.member_already()
    known = await team_names(connection, tenant)
    member = member.model_copy(update={"teams": [team for team in member.teams if team in known]})
    await add_member(connection, member)
    values = {"accepted_at": now.astimezone(UTC), "member_id": member.member_id}
    await connection.execute(update(invitations_table).where(by_digest).values(**values))
    details = {
        "member": member.member_id,
        "email": members.mask_email(member.email),
        "role": member.role.value,
    }
    await record_audit(connection, person.user_id, "invitation.accept", tenant, found[0].invitation_id, details)
    return member


async def _read(connection: AsyncConnection, chosen: ColumnElement[bool]) -> list[Invitation]:
    columns = invitations_table.c
    query = select(invitations_table).where(chosen)
    newest_first = query.order_by(columns.created_at.desc(), columns.invitation_id.desc()).limit(_MAX_LISTED)
    return [_invitation(row) for row in await connection.execute(newest_first)]


def _is(tenant: str, invitation_id: str) -> ColumnElement[bool]:
    return (invitations_table.c.tenant == tenant) & (invitations_table.c.invitation_id == invitation_id)


def _ended_long_ago(tenant: str, now: datetime) -> ColumnElement[bool]:
    """Return the condition for invitations that nobody can accept and that are kept no longer. All of them expire."""
    columns = invitations_table.c
    return (columns.tenant == tenant) & (columns.expires_at < now - timedelta(days=invitations.KEPT_DAYS))


def _invitation(row: Row[tuple[object, ...]]) -> Invitation:
    found = Invitation.model_validate(dict(row._mapping))
    names = ("created_at", "expires_at", "accepted_at", "revoked_at")
    times = {name: None if (at := getattr(found, name)) is None else at.astimezone(UTC) for name in names}
    return found.model_copy(update=times)
