"""The people of a tenant: its members, the invitations that make somebody one, and its teams. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, WithJsonSchema
from pydantic_core import PydanticCustomError

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, Reference, TenantId
from keyferry.contracts.tenancy import ClientToken, Digest, Label
from keyferry.contracts.text import Count, Identifier, Moment, Refusing

MAX_MEMBERS = 1000
"""Most members of one tenant."""
MAX_OPEN_INVITATIONS = 200
"""Most invitations of one tenant that somebody could accept."""
MAX_TEAMS = 200
"""Most teams of one tenant."""
MAX_TEAMS_OF_MEMBER = 50
MAX_LISTED_TOKENS = 500
"""Most client tokens in one answer about a member or a team; `client_token_count` counts all."""
INVITATION_DAYS = 7
"""How long an invitation can be accepted, if nothing else is said."""
MAX_INVITATION_DAYS = 90

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*$"


def _check_role(role: AccessRole) -> AccessRole:
    if role not in TENANT_ROLES:
        raise PydanticCustomError("role", "a member is an owner, an admin, a developer or a viewer")
    return role


EmailAddress = Annotated[
    str, Refusing(254, 3, pattern=_EMAIL, form="an email address in ASCII", no_key=True), AfterValidator(str.lower)
]
"""An email address in lower case, by the rule of HTML's `input type=email`.

Addresses in other scripts are refused: two that look alike would be two people's.
"""
TenantRole = Annotated[
    AccessRole,
    AfterValidator(_check_role),
    WithJsonSchema({"type": "string", "enum": [role.value for role in TENANT_ROLES]}),
]
"""A role of a member, so never the operator's."""
MemberId = Annotated[str, Refusing(64, 5, pattern=r"^mem_[a-z0-9]+$", form="mem_ and a-z 0-9")]
InvitationId = Annotated[str, Refusing(64, 5, pattern=r"^inv_[a-z0-9]+$", form="inv_ and a-z 0-9")]
TeamNames = Annotated[list[Reference], Field(max_length=MAX_TEAMS_OF_MEMBER)]
MemberIds = Annotated[list[MemberId], Field(max_length=MAX_MEMBERS)]


class MemberState(StrEnum):
    """Whether a member may act."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class MemberSource(StrEnum):
    """What made somebody a member, and so what decides their role."""

    INVITATION = "invitation"
    CLAIMS = "claims"
    """The identity provider, whose claims set the role at every sign-in."""
    OPERATOR = "operator"


class Member(Message):
    """A person in a tenant, and their entry in the view."""

    tenant: TenantId
    member_id: MemberId
    user_id: Identifier | None = None
    """The person who signs in; null until somebody has."""
    email: EmailAddress | None = None
    """Null where the identity provider names none that can be used."""
    name: Label | None = None
    role: TenantRole
    state: MemberState = MemberState.ACTIVE
    source: MemberSource
    teams: list[Reference] = Field(default_factory=list)
    """In alphabetical order."""
    created_at: Moment
    last_signed_in_at: Moment | None = None


class Invitation(Message):
    """An invitation to become a member. Its code is known only to who receives it."""

    invitation_id: InvitationId
    tenant: TenantId
    email: EmailAddress
    """Only a person who has verified this address can accept it."""
    role: TenantRole
    teams: list[Reference] = Field(default_factory=list)
    created_by: Actor
    created_at: Moment
    expires_at: Moment
    accepted_at: Moment | None = None
    member_id: MemberId | None = None
    """The member that it made."""
    revoked_at: Moment | None = None


class Team(Message):
    """A part of a tenant with preferences, budgets and keys of its own: the `team` of client tokens."""

    tenant: TenantId
    team: Reference
    name: Label | None = None
    """For people."""
    members: list[MemberId] = Field(default_factory=list)
    """In alphabetical order."""
    created_at: Moment


class Members(Message):
    """A tenant's members, in the order in which they came."""

    members: list[Member]


class Invitations(Message):
    """A tenant's invitations, the newest first: open ones, and for a while those that are not."""

    invitations: list[Invitation]


class Teams(Message):
    """A tenant's teams, in alphabetical order."""

    teams: list[Team]


class MemberSignedOut(Message):
    """The answer to `SignOutMember`."""

    member_id: MemberId
    sessions: Count
    """How many have ended."""


class MemberRemoved(Message):
    """The member that was removed, and the client tokens that were theirs and not revoked before."""

    member: Member
    client_tokens: list[ClientToken] = Field(default_factory=list)
    """Sorted by age; at most MAX_LISTED_TOKENS."""
    client_token_count: Count = 0
    revoked: bool = False
    """Whether these tokens were revoked with the member."""


class TeamRemoved(Message):
    """The team that was removed, and the client tokens that still name it."""

    team: Team
    client_tokens: list[ClientToken] = Field(default_factory=list)
    """Sorted by age; at most MAX_LISTED_TOKENS."""
    client_token_count: Count = 0


class MembershipCommand(Command):
    """A change of a tenant's people. It is carried out in the role that its actor has now, or `actor_role` if that is lower."""

    tenant: TenantId
    actor: Actor = "operator"
    """Who does it, for the audit."""
    actor_role: AccessRole
    """The role that the actor was allowed in."""
    actor_member: MemberId | None = None
    """The member who does it; null for an operator only."""


class ListMembers(Command):
    """Request a tenant's members."""

    tenant: TenantId


class GetMember(Command):
    """Request one member."""

    tenant: TenantId
    member_id: MemberId


class UpdateMember(MembershipCommand):
    """Change a member; null fields stay as they are."""

    member_id: MemberId
    name: Label | None = None
    role: TenantRole | None = None
    state: MemberState | None = None
    """A suspended member may do nothing, and is signed out."""
    teams: TeamNames | None = None
    """Replaces the member's teams."""


class RemoveMember(MembershipCommand):
    """Remove a member, who is signed out."""

    member_id: MemberId
    revoke_tokens: StrictBool = False
    """Whether the member's client tokens are revoked as well."""


class SignOutMember(MembershipCommand):
    """End all sessions of a member, who may sign in again."""

    member_id: MemberId


class CreateInvitation(MembershipCommand):
    """Invite somebody. Who sends this has made the code (`invitation_code.mint`); only its digest travels."""

    email: EmailAddress
    role: TenantRole
    teams: TeamNames = Field(default_factory=list)
    digest: Digest
    expires_at: Moment | None = None
    """At most MAX_INVITATION_DAYS ahead; null for INVITATION_DAYS."""


class ListInvitations(Command):
    """Request a tenant's invitations."""

    tenant: TenantId


class RevokeInvitation(MembershipCommand):
    """Revoke an invitation that is open."""

    invitation_id: InvitationId


class SignedInPerson(Message):
    """Somebody who is signed in, as the console knows them from their session."""

    model_config = ConfigDict(extra="forbid")

    user_id: Identifier
    email: EmailAddress | None = None
    email_verified: StrictBool = False
    """Whether the identity provider vouches for the address."""
    name: Label | None = None


class AcceptInvitation(Command):
    """Become a member by an invitation's code, of which only the digest travels. It names no tenant: the code decides."""

    digest: Digest
    person: SignedInPerson


class ListTeams(Command):
    """Request a tenant's teams, or one of them."""

    tenant: TenantId
    team: Reference | None = None
    """Null for all."""


class CreateTeam(MembershipCommand):
    """Add a team."""

    team: Reference
    name: Label | None = None
    members: MemberIds = Field(default_factory=list)


class UpdateTeam(MembershipCommand):
    """Change a team; null and empty fields change nothing."""

    team: Reference
    name: Label | None = None
    add: MemberIds = Field(default_factory=list)
    """Members who join it."""
    remove: MemberIds = Field(default_factory=list)
    """Members who leave it."""


class RemoveTeam(MembershipCommand):
    """Remove a team. Its members stay members of the tenant."""

    team: Reference
    force: StrictBool = False
    """Remove it although client tokens name it, which keep the name."""
