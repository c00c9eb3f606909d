"""Routes for the people of a tenant: members, invitations and teams."""

from typing import Annotated

from fastapi import Query, Request, Response

from keyferry.contracts import invitation_code
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.ids import Reference
from keyferry.contracts.membership import (
    CreateInvitation,
    CreateTeam,
    GetMember,
    Invitation,
    InvitationId,
    ListInvitations,
    ListMembers,
    ListTeams,
    Member,
    MemberId,
    MemberRemoved,
    MemberSignedOut,
    RemoveMember,
    RemoveTeam,
    RevokeInvitation,
    SignOutMember,
    Team,
    TeamRemoved,
    UpdateMember,
    UpdateTeam,
)
from keyferry.contracts.membership_management import (
    INVITATION_CREATE,
    INVITATION_LIST,
    INVITATION_REVOKE,
    MEMBER_GET,
    MEMBER_LIST,
    MEMBER_REMOVE,
    MEMBER_SIGN_OUT,
    MEMBER_UPDATE,
    TEAM_CREATE,
    TEAM_LIST,
    TEAM_REMOVE,
    TEAM_UPDATE,
)
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from keyferry.runtime.team_uses import explain_team_uses, find_team_uses
from services.console.access import RouteSpec
from services.console.bodies import Paging
from services.console.member_bodies import (
    CreatedInvitation,
    CreateTeamBody,
    InvitationPage,
    InviteBody,
    MemberPage,
    RemoveMemberQuery,
    RemoveTeamQuery,
    TeamPage,
    UpdateMemberBody,
    UpdateTeamBody,
)
from services.console.problem import not_found
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant, TenantContext
from services.console.views import paginate


class MemberRoutes:
    """The routes under `/members`, `/invitations` and `/teams`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        member, invitation, team = "/members/{member_id}", "/invitations/{invitation_id}", "/teams/{team}"
        return (
            RouteSpec("GET", "/members", "list_members", self.list_members),
            RouteSpec("GET", member, "get_member", self.get_member),
            RouteSpec("PATCH", member, "update_member", self.update_member),
            RouteSpec("DELETE", member, "remove_member", self.remove_member),
            RouteSpec("DELETE", f"{member}/sessions", "sign_out_member", self.sign_out_member),
            RouteSpec("GET", "/invitations", "list_invitations", self.list_invitations),
            RouteSpec("POST", "/invitations", "create_invitation", self.create_invitation, status=201),
            RouteSpec("GET", invitation, "get_invitation", self.get_invitation),
            RouteSpec("DELETE", invitation, "revoke_invitation", self.revoke_invitation),
            RouteSpec("GET", "/teams", "list_teams", self.list_teams),
            RouteSpec("POST", "/teams", "create_team", self.create_team, status=201),
            RouteSpec("GET", team, "get_team", self.get_team),
            RouteSpec("PATCH", team, "update_team", self.update_team),
            RouteSpec("DELETE", team, "remove_team", self.remove_team),
        )

    async def list_members(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> MemberPage:
        """List a tenant's members, in the order in which they came."""
        found = await self._services.read(MEMBER_LIST, ListMembers(tenant=context.tenant))
        data, following = paginate(found.members, lambda member: member.member_id, query.limit, query.after)
        return MemberPage(data=data, next=following)

    async def get_member(self, context: CurrentTenant, member_id: MemberId) -> Member:
        """Return one member."""
        return await self._services.read(MEMBER_GET, GetMember(tenant=context.tenant, member_id=member_id))

    async def update_member(self, context: CurrentTenant, member_id: MemberId, body: UpdateMemberBody) -> Member:
        """Change a member's role, state, name or teams. It counts within a second, for who is signed in as well.

        Nobody gives a role above their own, and the last active owner stays one.
        """
        changes = body.model_dump(exclude_unset=True)
        command = UpdateMember.model_validate(_by(context) | {"member_id": member_id} | changes)
        return await self._services.change(MEMBER_UPDATE, command)

    async def remove_member(
        self, context: CurrentTenant, member_id: MemberId, query: Annotated[RemoveMemberQuery, Query()]
    ) -> MemberRemoved:
        """Remove a member, who is signed out. The answer names the client tokens that were theirs."""
        values = _by(context) | {"member_id": member_id, "revoke_tokens": query.revoke_tokens}
        return await self._services.change(MEMBER_REMOVE, RemoveMember.model_validate(values))

    async def sign_out_member(self, context: CurrentTenant, member_id: MemberId) -> MemberSignedOut:
        """End all sessions of a member everywhere, also those in which they act for other tenants. They may sign in again.

        Nobody ends the sessions of somebody above their own role.
        """
        command = SignOutMember.model_validate(_by(context) | {"member_id": member_id})
        return await self._services.change(MEMBER_SIGN_OUT, command)

    async def list_invitations(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> InvitationPage:
        """List a tenant's invitations, the newest first: those that are open, and for a while those that are not."""
        found = await self._list_invitations(context)
        data, following = paginate(found, lambda each: each.invitation_id, query.limit, query.after)
        return InvitationPage(data=data, next=following)

    async def create_invitation(
        self, context: CurrentTenant, body: InviteBody, request: Request, response: Response
    ) -> CreatedInvitation:
        """Invite somebody. The response contains the code, which is shown only this once.

        The console generates it and passes on only its digest. Who has verified the address accepts the invitation with it, once.
        """
        code = invitation_code.mint()
        values = _by(context) | body.model_dump() | {"digest": invitation_code.digest(code.reveal())}
        made = await self._services.change(INVITATION_CREATE, CreateInvitation.model_validate(values))
        response.headers["location"] = f"{request.url.path}/{made.invitation_id}"
        return CreatedInvitation.model_validate({**made.model_dump(), "code": code})

    async def get_invitation(self, context: CurrentTenant, invitation_id: InvitationId) -> Invitation:
        """Return one invitation."""
        for invitation in await self._list_invitations(context):
            if invitation.invitation_id == invitation_id:
                return invitation
        raise not_found("the tenant has no such invitation; the list shows every invitation's id")

    async def revoke_invitation(self, context: CurrentTenant, invitation_id: InvitationId) -> Invitation:
        """Revoke an open invitation. Revoking it again changes nothing."""
        command = RevokeInvitation.model_validate(_by(context) | {"invitation_id": invitation_id})
        return await self._services.change(INVITATION_REVOKE, command)

    async def list_teams(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> TeamPage:
        """List a tenant's teams with their members, in alphabetical order."""
        found = await self._services.read(TEAM_LIST, ListTeams(tenant=context.tenant))
        data, following = paginate(found.teams, lambda team: team.team, query.limit, query.after)
        return TeamPage(data=data, next=following)

    async def create_team(
        self, context: CurrentTenant, body: CreateTeamBody, request: Request, response: Response
    ) -> Team:
        """Add a team."""
        command = CreateTeam.model_validate(_by(context) | body.model_dump())
        made = await self._services.change(TEAM_CREATE, command)
        response.headers["location"] = f"{request.url.path}/{made.team}"
        return made

    async def get_team(self, context: CurrentTenant, team: Reference) -> Team:
        """Return one team with its members."""
        found = await self._services.read(TEAM_LIST, ListTeams(tenant=context.tenant, team=team))
        return found.teams[0]

    async def update_team(self, context: CurrentTenant, team: Reference, body: UpdateTeamBody) -> Team:
        """Change a team's name, or who is in it."""
        command = UpdateTeam.model_validate(_by(context) | {"team": team} | body.model_dump())
        return await self._services.change(TEAM_UPDATE, command)

    async def remove_team(
        self, context: CurrentTenant, team: Reference, query: Annotated[RemoveTeamQuery, Query()]
    ) -> TeamRemoved:
        """Remove a team. Its members stay members of the tenant.

        Nothing is removed (409) while client tokens, preferences, budgets, alert rules or provider keys name the team, unless
        `force` is true: then they keep its name, and go on as before.
        """
        if not query.force and (uses := await find_team_uses(self._services.read, context.tenant, team)):
            text = f"{explain_team_uses(team, uses)}: remove these or change them first, or repeat this with force=true"
            raise HttpProblem(409, INVALID_REQUEST, "conflict", text, headers={"x-should-retry": "false"})
        command = RemoveTeam.model_validate(_by(context) | {"team": team, "force": query.force})
        return await self._services.change(TEAM_REMOVE, command)

    async def _list_invitations(self, context: TenantContext) -> list[Invitation]:
        found = await self._services.read(INVITATION_LIST, ListInvitations(tenant=context.tenant))
        return found.invitations


def _by(context: TenantContext) -> dict[str, object]:
    """Return the fields by which a command says who acts, and in which role."""
    return {
        "tenant": context.tenant,
        "actor": context.actor,
        "actor_role": context.role,
        "actor_member": None if context.role is AccessRole.OPERATOR else context.member,
    }
