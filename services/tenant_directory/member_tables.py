"""The tables of members, invitations and teams. Keys begin with the tenant, so that no row can refer to another tenant's."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, ForeignKeyConstraint, Index, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from keyferry.contracts.access_role import TENANT_ROLES
from keyferry.contracts.membership import MemberSource, MemberState
from services.tenant_directory.tables import metadata, tenants_table


def _one_of(column: str, values: type[StrEnum] | tuple[StrEnum, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


members_table = Table(
    "members",
    metadata,
    Column("tenant", Text, ForeignKey(tenants_table.c.tenant), primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("user_id", Text),
    Column("email", Text),
    Column("name", Text),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("last_signed_in_at", DateTime(timezone=True)),
    CheckConstraint(_one_of("role", TENANT_ROLES), name="members_role_known"),
    CheckConstraint(_one_of("state", MemberState), name="members_state_known"),
    CheckConstraint(_one_of("source", MemberSource), name="members_source_known"),
    Index("members_by_user", "tenant", "user_id", unique=True),
    Index("memberships_by_user", "user_id"),
)
invitations_table = Table(
    "invitations",
    metadata,
    Column("tenant", Text, ForeignKey(tenants_table.c.tenant), primary_key=True),
    Column("invitation_id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("teams", ARRAY(Text), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_by_member", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("accepted_at", DateTime(timezone=True)),
    Column("member_id", Text),
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="invitations_digest_hex"),
    CheckConstraint(_one_of("role", TENANT_ROLES), name="invitations_role_known"),
    CheckConstraint("expires_at > created_at", name="invitations_expire_later"),
    CheckConstraint("accepted_at IS NULL OR revoked_at IS NULL", name="invitations_end_once"),
    CheckConstraint("(accepted_at IS NULL) = (member_id IS NULL)", name="invitations_accepted_make_a_member"),
)
teams_table = Table(
    "teams",
    metadata,
    Column("tenant", Text, ForeignKey(tenants_table.c.tenant), primary_key=True),
    Column("team", Text, primary_key=True),
    Column("name", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
team_members_table = Table(
    "team_members",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("team", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    ForeignKeyConstraint(["tenant", "team"], [teams_table.c.tenant, teams_table.c.team], ondelete="CASCADE"),
    ForeignKeyConstraint(
        ["tenant", "member_id"], [members_table.c.tenant, members_table.c.member_id], ondelete="CASCADE"
    ),
    Index("team_members_by_member", "tenant", "member_id"),
)
