"""Request bodies, queries and answers about members, invitations and teams. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic import model_validator as validator_of_model
from pydantic_core import PydanticCustomError

from keyferry.contracts.ids import Reference
from keyferry.contracts.membership import (
    MAX_MEMBERS,
    EmailAddress,
    Invitation,
    Member,
    MemberId,
    MemberState,
    Team,
    TeamNames,
    TenantRole,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import Label
from services.console.bodies import Body, GivenMoment, NotNull, QueryParameters
from services.console.views import View, keep_secret

_MemberIds = Annotated[list[MemberId], Field(default_factory=list, max_length=MAX_MEMBERS)]


class UpdateMemberBody(Body):
    """Changes to a member; omitted fields stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "admin"}, {"state": "suspended"}]})

    name: Annotated[Label | None, NotNull] = None
    role: Annotated[TenantRole | None, NotNull] = None
    """At most your own."""
    state: Annotated[MemberState | None, NotNull] = None
    """A suspended member may do nothing, and is signed out."""
    teams: Annotated[TeamNames | None, NotNull] = None
    """Replaces the member's teams."""

    @validator_of_model(mode="after")
    def _require_change(self) -> "UpdateMemberBody":
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "nothing to change: give at least one field")
        return self


class InviteBody(Body):
    """Somebody to invite."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "ann@example.com", "role": "developer"}]})

    email: EmailAddress
    """Only a person who has verified this address can accept the invitation."""
    role: TenantRole
    """At most your own."""
    teams: Annotated[TeamNames, Field(default_factory=list)]
    expires_at: GivenMoment | None = None
    """At most 90 days ahead, with a time zone; null for a week."""


class CreateTeamBody(Body):
    """A team to add."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"team": "sales", "name": "Sales"}]})

    team: Reference
    """Its name in client tokens, preferences, budgets and keys. It cannot be changed."""
    name: Label | None = None
    """For people."""
    members: _MemberIds


class UpdateTeamBody(Body):
    """Changes to a team."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Sales and partners"}]})

    name: Annotated[Label | None, NotNull] = None
    add: _MemberIds
    """Members who join it."""
    remove: _MemberIds
    """Members who leave it."""

    @validator_of_model(mode="after")
    def _require_change(self) -> "UpdateTeamBody":
        if self.name is None and not self.add and not self.remove:
            raise PydanticCustomError("nothing", "nothing to change: give a name, or members to add or to remove")
        return self


class RemoveMemberQuery(QueryParameters):
    """What goes with a member."""

    revoke_tokens: bool = False
    """Also revoke the member's client tokens."""


class RemoveTeamQuery(QueryParameters):
    """Whether to look what names a team."""

    force: bool = False
    """Remove it although client tokens, preferences, budgets, alert rules or keys name it."""


class MemberPage(View):
    """A tenant's members, in the order in which they came. `next` is null on the last page."""

    data: list[Member]
    next: str | None


class InvitationPage(View):
    """A tenant's invitations, the newest first. `next` is null on the last page."""

    data: list[Invitation]
    next: str | None


class TeamPage(View):
    """A tenant's teams, in alphabetical order. `next` is null on the last page."""

    data: list[Team]
    next: str | None


class CreatedInvitation(Invitation):
    """A new invitation and, only in this response, its code."""

    code: Annotated[
        Secret,
        PlainValidator(keep_secret),
        PlainSerializer(Secret.reveal, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "readOnly": True, "examples": ["kfi_…"]}),
    ]
    """Give it to who is invited: it is not shown again, and cannot be recovered, only revoked."""
