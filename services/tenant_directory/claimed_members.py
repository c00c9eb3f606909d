"""What a sign-in does to memberships: those that the identity provider names are made, and those that it names no more end."""

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.membership import Member, MemberSource, MemberState
from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.contracts.sessions import StartSession
from keyferry.runtime.database.outbox import enqueue
from services.tenant_directory import members
from services.tenant_directory.member_store import (
    apply_claims,
    count_owners,
    memberships_of,
    note_sign_in,
    revoke_invitations_of,
    view_key,
)
from services.tenant_directory.member_tables import members_table
from services.tenant_directory.tables import outbox
from services.tenant_directory.tenants import RuleViolation
from services.tenant_directory.transactions import record_audit


async def apply_memberships(
    connection: AsyncConnection, command: StartSession, user_id: str, now: datetime
) -> list[Member]:
    """Return what somebody may act for after signing in. Raises SQLAlchemyError.

    The caller has locked the tenants that are named, and those that the person is a member of. A tenant that does not exist, or
    gets no members, is left out: it must not keep the person from the others.
    """
    for claimed in sorted(command.memberships or (), key=lambda membership: membership.tenant):
        try:
            await apply_claims(
                connection,
                tenant=claimed.tenant,
                user_id=user_id,
                email=command.email,
                name=command.name,
                role=claimed.role,
                now=now,
            )
        except RuleViolation:
            continue
    if command.memberships is not None:
        await _end_unclaimed(connection, user_id, {membership.tenant for membership in command.memberships}, now)
    await note_sign_in(connection, user_id, now)
    found = await memberships_of(connection, user_id)
    return [member for member in found if member.state is MemberState.ACTIVE]


async def _end_unclaimed(connection: AsyncConnection, user_id: str, claimed: set[str], now: datetime) -> None:
    """Remove the memberships that claims have made and make no more. A tenant keeps its last owner.

    A suspended member is kept, too: otherwise claims that name the tenant again would make one who is not suspended.
    """
    for member in await memberships_of(connection, user_id):
        if (
            member.source is not MemberSource.CLAIMS
            or member.tenant in claimed
            or member.state is MemberState.SUSPENDED
        ):
            continue
        if members.is_last_owner(member, await count_owners(connection, member.tenant)):
            continue
        await revoke_invitations_of(connection, member, now)
        columns = members_table.c
        await connection.execute(
            delete(members_table).where((columns.tenant == member.tenant) & (columns.member_id == member.member_id))
        )
        await enqueue(connection, outbox, MEMBERS_VIEW.name, view_key(member), None)
        details = {"email": members.mask_email(member.email), "role": member.role.value, "source": member.source.value}
        await record_audit(connection, user_id, "member.remove", member.tenant, member.member_id, details)
