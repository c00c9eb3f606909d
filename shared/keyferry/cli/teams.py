"""`keyferry teams`: the parts of a tenant that have preferences, budgets and keys of their own."""

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.people import by_operator, describe_member, find_members
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts.membership import CreateTeam, ListTeams, Member, RemoveTeam, Team, TeamRemoved, UpdateTeam
from keyferry.contracts.membership_management import TEAM_CREATE, TEAM_LIST, TEAM_REMOVE, TEAM_UPDATE
from keyferry.runtime.team_uses import explain_team_uses, find_team_uses


@click.group()
def command() -> None:
    """Create, show, change and delete teams. MEMBER is an id or an address."""


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's teams."""
    found = run(lambda me: me.ask(TEAM_LIST, ListTeams(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [(team.team, team.name or "-", str(len(team.members))) for team in found.teams]
    empty = f"{tenant} has no teams: `keyferry teams create TEAM --tenant {tenant}` adds one"
    click.echo(format_table(("TEAM", "NAME", "MEMBERS"), rows, empty=empty))


@command.command()
@click.argument("team")
@tenant_option
@json_option
def show(team: str, tenant: str, as_json: bool) -> None:
    """Show the team TEAM and its members."""

    async def look(me: Connection) -> tuple[Team, list[Member]]:
        found = (await me.ask(TEAM_LIST, ListTeams(tenant=tenant, team=team))).teams[0]
        return found, [] if as_json else await find_members(me, tenant, found.members)

    found, members = run(look, tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    click.echo(f"{found.team}: {found.name or 'without a name for people'}")
    for member in members:
        click.echo(f"  {describe_member(member)}, {member.role.value}, {member.state.value}")


@command.command()
@click.argument("team")
@tenant_option
@click.option("--name", help="Its name for people.")
@json_option
def create(team: str, tenant: str, name: str | None, as_json: bool) -> None:
    """Add the team TEAM: the name that client tokens, preferences, budgets and keys use, which cannot be changed."""
    command = CreateTeam.model_validate(by_operator(tenant, team=team, name=name))
    made = run(lambda me: me.ask(TEAM_CREATE, command), tenant=tenant)
    _show_changed(made, as_json, "created")


@command.command()
@click.argument("team")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@tenant_option
@json_option
def add(team: str, members: tuple[str, ...], tenant: str, as_json: bool) -> None:
    """Have each MEMBER join the team TEAM."""
    _show_changed(run(lambda me: _move(me, tenant, team, "add", members), tenant=tenant), as_json, "changed")


@command.command()
@click.argument("team")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER...")
@tenant_option
@json_option
def remove(team: str, members: tuple[str, ...], tenant: str, as_json: bool) -> None:
    """Have each MEMBER leave the team TEAM."""
    _show_changed(run(lambda me: _move(me, tenant, team, "remove", members), tenant=tenant), as_json, "changed")


@command.command()
@click.argument("team")
@click.argument("name")
@tenant_option
@json_option
def rename(team: str, name: str, tenant: str, as_json: bool) -> None:
    """Give the team TEAM another NAME for people."""
    command = UpdateTeam.model_validate(by_operator(tenant, team=team, name=name))
    _show_changed(run(lambda me: me.ask(TEAM_UPDATE, command), tenant=tenant), as_json, "changed")


@command.command()
@click.argument("team")
@tenant_option
@click.option(
    "--force", is_flag=True, help="Delete it although tokens, preferences, budgets, alert rules or keys name it."
)
@json_option
def delete(team: str, tenant: str, force: bool, as_json: bool) -> None:
    """Delete the team TEAM. Its members stay members of the tenant."""

    async def act(me: Connection) -> TeamRemoved:
        if not force and (uses := await find_team_uses(me.ask, tenant, team)):
            raise Problem(
                explain_team_uses(team, uses), "Remove these or change them first, or repeat this with --force"
            )
        return await me.ask(TEAM_REMOVE, RemoveTeam.model_validate(by_operator(tenant, team=team, force=force)))

    removed = run(act, tenant=tenant)
    if as_json:
        click.echo(removed.model_dump_json(indent=2))
        return
    click.echo(f"deleted the team {removed.team.team} of {tenant}")
    if removed.client_token_count:
        click.echo(f"{removed.client_token_count} client tokens still name it, and go on as before:")
        for token in removed.client_tokens:
            click.echo(f"  {token.token_id}  {token.label}")


async def _move(me: Connection, tenant: str, team: str, field: str, names: tuple[str, ...]) -> Team:
    found = await find_members(me, tenant, names)
    fields = by_operator(tenant, team=team, **{field: [member.member_id for member in found]})
    return await me.ask(TEAM_UPDATE, UpdateTeam.model_validate(fields))


def _show_changed(team: Team, as_json: bool, verb: str) -> None:
    text = f"{verb} the team {team.team} of {team.tenant}: {len(team.members)} members"
    click.echo(team.model_dump_json(indent=2) if as_json else text)
