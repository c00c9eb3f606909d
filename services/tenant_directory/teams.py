"""Rules about teams. Pure."""

from collections.abc import Collection
from datetime import UTC, datetime

from keyferry.contracts.membership import MAX_TEAMS, MAX_TEAMS_OF_MEMBER, CreateTeam, Team, UpdateTeam
from keyferry.contracts.service import ErrorCode
from services.tenant_directory.tenants import RuleViolation


def create(command: CreateTeam, teams: Collection[str], now: datetime) -> Team:
    """Return the team that `command` makes at `now`, beside the tenant's `teams`. Raises RuleViolation."""
    if command.team in teams:
        raise RuleViolation(
            ErrorCode.CONFLICT, f"there is a team {command.team!r} already: change it, or choose another name"
        )
    if len(teams) >= MAX_TEAMS:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"the tenant has {len(teams)} teams, and can have {MAX_TEAMS}: remove one that is not needed any more",
        )
    return Team(
        tenant=command.tenant,
        team=command.team,
        name=command.name,
        members=sorted(set(command.members)),
        created_at=now.astimezone(UTC),
    )


def update(team: Team, command: UpdateTeam) -> Team:
    """Apply the changes of `command`. Raises RuleViolation if there are none, or if somebody joins and leaves at once."""
    if command.name is None and not command.add and not command.remove:
        raise RuleViolation(ErrorCode.INVALID, "nothing to change: give a name, or members to add or to remove")
    if both := sorted(set(command.add) & set(command.remove)):
        raise RuleViolation(ErrorCode.INVALID, f"{both[0]} is to be added and to be removed: leave one of them out")
    if missing := sorted(set(command.remove) - set(team.members)):
        raise RuleViolation(
            ErrorCode.NOT_FOUND, f"{missing[0]} is not in the team {team.team!r}: its members are listed"
        )
    members = sorted((set(team.members) | set(command.add)) - set(command.remove))
    return team.model_copy(update={"name": command.name or team.name, "members": members})


def check_removal(team: Team, tokens: int, *, force: bool) -> None:
    """Raise RuleViolation if client tokens name the team, unless it is forced."""
    if tokens and not force:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"{tokens} client tokens name the team {team.team!r}: revoke them first, or force it; then they keep its name, and"
            " what its preferences, budgets and keys say of it goes on for them",
        )


def check_teams_of_member(count: int) -> None:
    """Raise RuleViolation if a member would be in too many teams."""
    if count > MAX_TEAMS_OF_MEMBER:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"a member can be in {MAX_TEAMS_OF_MEMBER} teams at most: take the member out of one first",
        )


def describe_changes(before: Team, after: Team) -> dict[str, str]:
    """Return what changed of a team, for the audit."""
    details = {}
    if before.name != after.name:
        details["name"] = f"{before.name or '-'} -> {after.name or '-'}"
    if joined := sorted(set(after.members) - set(before.members)):
        details["added"] = " ".join(joined)
    if left := sorted(set(before.members) - set(after.members)):
        details["removed"] = " ".join(left)
    return details


def unknown(tenant: str, team: str) -> RuleViolation:
    """Return the error for a team that the tenant does not have."""
    return RuleViolation(
        ErrorCode.NOT_FOUND, f"tenant {tenant!r} has no team {team!r}: list its teams, or create it first"
    )
