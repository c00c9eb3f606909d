"""The subjects by which a tenant's people are managed: the part of `topology` about members, invitations and teams.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import membership
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage

_DIRECTORY = Role.TENANT_DIRECTORY

MEMBER_LIST = manage(
    "kf.v1.member.list", membership.ListMembers, membership.Members, _DIRECTORY, "List a tenant's members."
)
MEMBER_GET = manage("kf.v1.member.get", membership.GetMember, membership.Member, _DIRECTORY, "Return one member.")
MEMBER_UPDATE = manage(
    "kf.v1.member.update",
    membership.UpdateMember,
    membership.Member,
    _DIRECTORY,
    "Change a member's role, name or teams, or suspend a member.",
)
MEMBER_REMOVE = manage(
    "kf.v1.member.remove",
    membership.RemoveMember,
    membership.MemberRemoved,
    _DIRECTORY,
    "Remove a member, and the member's client tokens if that is wanted.",
)
MEMBER_SIGN_OUT = manage(
    "kf.v1.member.sign_out",
    membership.SignOutMember,
    membership.MemberSignedOut,
    _DIRECTORY,
    "End all sessions of a member.",
)
INVITATION_CREATE = manage(
    "kf.v1.invitation.create",
    membership.CreateInvitation,
    membership.Invitation,
    _DIRECTORY,
    "Invite somebody to become a member.",
)
INVITATION_LIST = manage(
    "kf.v1.invitation.list",
    membership.ListInvitations,
    membership.Invitations,
    _DIRECTORY,
    "List a tenant's invitations.",
)
INVITATION_REVOKE = manage(
    "kf.v1.invitation.revoke",
    membership.RevokeInvitation,
    membership.Invitation,
    _DIRECTORY,
    "Revoke an open invitation.",
)
INVITATION_ACCEPT = manage(
    "kf.v1.invitation.accept",
    membership.AcceptInvitation,
    membership.Member,
    _DIRECTORY,
    "Make the person who is signed in a member, by the code of an invitation to their address.",
)
TEAM_LIST = manage("kf.v1.team.list", membership.ListTeams, membership.Teams, _DIRECTORY, "List a tenant's teams.")
TEAM_CREATE = manage("kf.v1.team.create", membership.CreateTeam, membership.Team, _DIRECTORY, "Add a team.")
TEAM_UPDATE = manage(
    "kf.v1.team.update", membership.UpdateTeam, membership.Team, _DIRECTORY, "Rename a team, or change who is in it."
)
TEAM_REMOVE = manage("kf.v1.team.remove", membership.RemoveTeam, membership.TeamRemoved, _DIRECTORY, "Remove a team.")
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""

MEMBERS_VIEW = Bucket(
    name="members",
    owner=_DIRECTORY,
    readers=(Role.CONSOLE, Role.NOTIFIER),
    message=membership.Member,
    by_tenant=True,
    summary="Every member, by `<tenant>.<member_id>`; who leaves the bucket may do nothing any more.",
)
BUCKETS: tuple[Bucket[Any], ...] = (MEMBERS_VIEW,)
