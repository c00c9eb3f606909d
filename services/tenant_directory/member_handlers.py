"""Handlers of the requests about members, invitations and teams."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from keyferry.contracts.membership import (
    AcceptInvitation,
    CreateInvitation,
    CreateTeam,
    GetMember,
    Invitation,
    Invitations,
    ListInvitations,
    ListMembers,
    ListTeams,
    Member,
    MemberRemoved,
    Members,
    RemoveMember,
    RemoveTeam,
    RevokeInvitation,
    Team,
    TeamRemoved,
    Teams,
    UpdateMember,
    UpdateTeam,
)
from keyferry.contracts.membership_management import (
    INVITATION_ACCEPT,
    INVITATION_CREATE,
    INVITATION_LIST,
    INVITATION_REVOKE,
    MEMBER_GET,
    MEMBER_LIST,
    MEMBER_REMOVE,
    MEMBER_UPDATE,
    TEAM_CREATE,
    TEAM_LIST,
    TEAM_REMOVE,
    TEAM_UPDATE,
)
from keyferry.runtime.bus.connection import Bus
from services.tenant_directory.invitation_store import InvitationStore
from services.tenant_directory.member_store import MemberStore
from services.tenant_directory.refusal import UNKNOWN_OUTCOME, reading, refuse_errors
from services.tenant_directory.team_store import TeamStore


class MemberHandlers:
    """Handlers of one process, like `Handlers`. Every handler raises Refused if it cannot do what was requested."""

    def __init__(
        self,
        members: MemberStore,
        invitations: InvitationStore,
        teams: TeamStore,
        committed: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._members = members
        self._invitations = invitations
        self._teams = teams
        self._committed = committed
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the subjects about people."""
        bus.respond(MEMBER_LIST, self.list_members)
        bus.respond(MEMBER_GET, self.get_member)
        bus.respond(MEMBER_UPDATE, self.update_member)
        bus.respond(MEMBER_REMOVE, self.remove_member)
        bus.respond(INVITATION_CREATE, self.create_invitation)
        bus.respond(INVITATION_LIST, self.list_invitations)
        bus.respond(INVITATION_REVOKE, self.revoke_invitation)
        bus.respond(INVITATION_ACCEPT, self.accept_invitation)
        bus.respond(TEAM_LIST, self.list_teams)
        bus.respond(TEAM_CREATE, self.create_team)
        bus.respond(TEAM_UPDATE, self.update_team)
        bus.respond(TEAM_REMOVE, self.remove_team)

    async def list_members(self, command: ListMembers) -> Members:
        """Return a tenant's members."""
        async with reading():
            return Members(members=await self._members.list_members(command.tenant))

    async def get_member(self, command: GetMember) -> Member:
        """Return one member."""
        async with reading():
            return await self._members.get_member(command)

    async def update_member(self, command: UpdateMember) -> Member:
        """Change a member's role, state, name or teams."""
        async with self._change():
            return await self._members.update_member(command, self._clock())

    async def remove_member(self, command: RemoveMember) -> MemberRemoved:
        """Remove a member, who is signed out."""
        async with self._change():
            return await self._members.remove_member(command, self._clock())

    async def create_invitation(self, command: CreateInvitation) -> Invitation:
        """Add an invitation by the digest of its code."""
        async with self._change():
            return await self._invitations.create_invitation(command, self._clock())

    async def list_invitations(self, command: ListInvitations) -> Invitations:
        """Return a tenant's invitations."""
        async with reading():
            return Invitations(invitations=await self._invitations.list_invitations(command.tenant))

    async def revoke_invitation(self, command: RevokeInvitation) -> Invitation:
        """Revoke an invitation; a second time keeps the first time of revocation."""
        async with self._change():
            return await self._invitations.revoke_invitation(command, self._clock())

    async def accept_invitation(self, command: AcceptInvitation) -> Member:
        """Make a signed-in person a member."""
        async with self._change():
            return await self._invitations.accept_invitation(command, self._clock())

    async def list_teams(self, command: ListTeams) -> Teams:
        """Return a tenant's teams, or one of them."""
        async with reading():
            return Teams(teams=await self._teams.list_teams(command))

    async def create_team(self, command: CreateTeam) -> Team:
        """Add a team."""
        async with self._change():
            return await self._teams.create_team(command, self._clock())

    async def update_team(self, command: UpdateTeam) -> Team:
        """Change a team's name, or who is in it."""
        async with self._change():
            return await self._teams.update_team(command)

    async def remove_team(self, command: RemoveTeam) -> TeamRemoved:
        """Remove a team."""
        async with self._change():
            return await self._teams.remove_team(command)

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        async with refuse_errors(UNKNOWN_OUTCOME):
            yield
        self._committed()
