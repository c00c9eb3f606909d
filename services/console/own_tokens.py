"""The client tokens that a developer may see and change: those whose member is the developer. Pure."""

from collections.abc import Iterable, Mapping

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.tenancy import ClientToken
from keyferry.runtime.http.problem import HttpProblem
from services.console.problem import not_found
from services.console.tenant_context import TenantContext

NO_SUCH_TOKEN = "the tenant has no such client token; the list shows every token's id"  # noqa: S105 - a message


def sees_only_own(context: TenantContext) -> bool:
    """Return whether the tokens of others do not exist for this role."""
    return context.role is AccessRole.DEVELOPER


def visible(context: TenantContext, tokens: Iterable[ClientToken]) -> list[ClientToken]:
    """Return the tokens that exist for this role."""
    if not sees_only_own(context):
        return list(tokens)
    return [token for token in tokens if token.member is not None and token.member == context.member]


def narrow(context: TenantContext, query: Mapping[str, object]) -> dict[str, object] | None:
    """Return a query for the tokens that exist for this role; None if it can find none."""
    if not sees_only_own(context):
        return dict(query)
    if context.member is None or query.get("member", context.member) != context.member:
        return None
    return {**query, "member": context.member}


def find(context: TenantContext, tokens: Iterable[ClientToken], token_id: str) -> ClientToken:
    """Return a token. Raises HttpProblem 404, the same for one that there is not and for one of somebody else."""
    for token in visible(context, tokens):
        if token.token_id == token_id:
            return token
    raise not_found(NO_SUCH_TOKEN)


def member_of_new(context: TenantContext, given: str | None) -> str | None:
    """Return the member of a new token: a developer's are its own. Raises HttpProblem 403 for somebody else's."""
    if not sees_only_own(context):
        return given
    if context.member is None or given not in (None, context.member):
        message = "developers create client tokens for themselves only: leave out `member`, or ask an admin"
        raise HttpProblem(403, "permission_error", "not_allowed", message, param="member")
    return context.member


def check_team_of_new(context: TenantContext, team: str | None) -> None:
    """Check the team of a new token: its budget and its keys are for those who are in it. Raises HttpProblem 403."""
    if sees_only_own(context) and team is not None and team not in context.teams:
        message = "developers create client tokens for teams that they are in: leave out `team`, or ask an admin"
        raise HttpProblem(403, "permission_error", "not_allowed", message, param="team")
