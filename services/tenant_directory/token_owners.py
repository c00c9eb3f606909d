"""Whether the team and the member that a client token names are there."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.tenancy import CreateClientToken
from services.tenant_directory import client_tokens
from services.tenant_directory.member_tables import members_table, teams_table


async def check_owners(connection: AsyncConnection, command: CreateClientToken) -> None:
    """Raise RuleViolation if a new token names an unknown team or member of a tenant that has any.

    A tenant without teams or members may use names of its own. The tenant's row is locked, so that none is removed meanwhile.
    """
    teams, members = teams_table.c, members_table.c
    if command.team is not None:
        query = select(teams.team).where(teams.tenant == command.tenant)
        client_tokens.check_team(command.tenant, command.team, (await connection.scalars(query)).all())
    if command.member is not None:
        query = select(members.member_id).where(members.tenant == command.tenant)
        client_tokens.check_member(command.tenant, command.member, (await connection.scalars(query)).all())
