"""Teams in PostgreSQL. Each change locks the tenant's row first, like those of members."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.membership import CreateTeam, ListTeams, RemoveTeam, Team, TeamRemoved, UpdateTeam
from services.tenant_directory import members, teams
from services.tenant_directory.client_token_store import list_named_tokens
from services.tenant_directory.member_store import (
    acting_role,
    publish_member,
    read_members,
    require_tenant,
    team_names,
)
from services.tenant_directory.member_tables import members_table, team_members_table, teams_table
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction


class TeamStore:
    """The table of teams. Every method raises DatabaseUnavailable, and RuleViolation if the command breaks a rule."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def list_teams(self, query: ListTeams) -> list[Team]:
        """Return a tenant's teams in alphabetical order, or the one that is named."""
        async with transaction(self._engine) as connection:
            await require_tenant(connection, query.tenant)
            if query.team is not None:
                return [await _read_team(connection, query.tenant, query.team)]
            return await _read_teams(connection, teams_table.c.tenant == query.tenant)

    async def create_team(self, command: CreateTeam, now: datetime) -> Team:
        """Add a team. Guard: the tenant's row lock, held from counting to commit."""
        async with transaction(self._engine) as connection:
            members.check_tenant(await lock_tenant(connection, command.tenant))
            await acting_role(connection, command)
            team = teams.create(command, await team_names(connection, command.tenant), now)
            await connection.execute(insert(teams_table).values(**team.model_dump(exclude={"members"})))
            await _move(connection, team, joining=team.members)
            empty = team.model_copy(update={"name": None, "members": []})
            details = teams.describe_changes(empty, team)
            await record_audit(connection, command.actor, "team.create", team.tenant, team.team, details)
        return team

    async def update_team(self, command: UpdateTeam) -> Team:
        """Change a team. Guard: the tenant's row lock, held from reading to commit."""
        async with transaction(self._engine) as connection:
            await lock_tenant(connection, command.tenant)
            await acting_role(connection, command)
            before = await _read_team(connection, command.tenant, command.team)
            after = teams.update(before, command)
            chosen = _is(command.tenant, command.team)
            await connection.execute(update(teams_table).where(chosen).values(name=after.name))
            joining, leaving = set(after.members) - set(before.members), set(before.members) - set(after.members)
            await _move(connection, after, joining=joining, leaving=leaving)
            details = teams.describe_changes(before, after)
            await record_audit(connection, command.actor, "team.update", after.tenant, after.team, details)
        return after

    async def remove_team(self, command: RemoveTeam) -> TeamRemoved:
        """Remove a team that no client token names, or any with force. Guard: the tenant's row lock."""
        async with transaction(self._engine) as connection:
            await lock_tenant(connection, command.tenant)
            await acting_role(connection, command)
            team = await _read_team(connection, command.tenant, command.team)
            tokens, count = await list_named_tokens(connection, command.tenant, team=team.team)
            teams.check_removal(team, count, force=command.force)
            await _move(connection, team, leaving=team.members)
            await connection.execute(delete(teams_table).where(_is(command.tenant, command.team)))
            details = {"members": str(len(team.members)), "client_tokens": f"{count} left"}
            await record_audit(connection, command.actor, "team.remove", team.tenant, team.team, details)
        return TeamRemoved(team=team, client_tokens=tokens, client_token_count=count)


async def _move(
    connection: AsyncConnection, team: Team, *, joining: Iterable[str] = (), leaving: Iterable[str] = ()
) -> None:
    """Store who joins and who leaves a team, and publish these members. Raises RuleViolation for an unknown member."""
    joining, leaving = sorted(joining), sorted(leaving)
    moved = {*joining, *leaving}
    if not moved:
        return
    columns = team_members_table.c
    if leaving:
        theirs = (columns.tenant == team.tenant) & (columns.team == team.team) & columns.member_id.in_(leaving)
        await connection.execute(delete(team_members_table).where(theirs))
    chosen = (members_table.c.tenant == team.tenant) & members_table.c.member_id.in_(moved)
    present = {member.member_id for member in await read_members(connection, chosen)}
    if missing := sorted(set(joining) - present):
        raise members.unknown(team.tenant, missing[0])
    if joining:
        rows = [{"tenant": team.tenant, "team": team.team, "member_id": member_id} for member_id in joining]
        await connection.execute(insert(team_members_table), rows)
    for member in await read_members(connection, chosen):
        teams.check_teams_of_member(len(member.teams))
        await publish_member(connection, member)


async def _read_team(connection: AsyncConnection, tenant: str, team: str) -> Team:
    found = await _read_teams(connection, _is(tenant, team))
    if not found:
        raise teams.unknown(tenant, team)
    return found[0]


async def _read_teams(connection: AsyncConnection, chosen: ColumnElement[bool]) -> list[Team]:
    columns, inside = teams_table.c, team_members_table.c
    joined = teams_table.outerjoin(
        team_members_table, (inside.tenant == columns.tenant) & (inside.team == columns.team)
    )
    members_of_team = func.array_remove(func.array_agg(inside.member_id), None).label("members")
    query = select(teams_table, members_of_team).select_from(joined).where(chosen)
    grouped = query.group_by(columns.tenant, columns.team).order_by(columns.team)
    return [_team(dict(row._mapping)) for row in await connection.execute(grouped)]


def _is(tenant: str, team: str) -> ColumnElement[bool]:
    return (teams_table.c.tenant == tenant) & (teams_table.c.team == team)


def _team(values: dict[str, object]) -> Team:
    team = Team.model_validate(values)
    return team.model_copy(update={"created_at": team.created_at.astimezone(UTC), "members": sorted(team.members)})
