"""Members, invitations and teams."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ROLES = "role IN ('owner', 'admin', 'developer', 'viewer')"


def upgrade() -> None:
    """Create the tables."""
    op.execute(f"""
        CREATE TABLE members (
            tenant text NOT NULL REFERENCES tenants (tenant),
            member_id text NOT NULL,
            user_id text,
            email text,
            name text,
            role text NOT NULL,
            state text NOT NULL,
            source text NOT NULL,
            created_at timestamptz NOT NULL,
            last_signed_in_at timestamptz,
            PRIMARY KEY (tenant, member_id),
            CONSTRAINT members_role_known CHECK ({_ROLES}),
            CONSTRAINT members_state_known CHECK (state IN ('active', 'suspended')),
            CONSTRAINT members_source_known CHECK (source IN ('invitation', 'claims', 'operator'))
        )
    """)
    op.execute("CREATE UNIQUE INDEX members_by_user ON members (tenant, user_id)")
    op.execute("CREATE INDEX memberships_by_user ON members (user_id)")
    op.execute(f"""
        CREATE TABLE invitations (
            tenant text NOT NULL REFERENCES tenants (tenant),
            invitation_id text NOT NULL,
            digest text NOT NULL UNIQUE,
            email text NOT NULL,
            role text NOT NULL,
            teams text[] NOT NULL,
            created_by text NOT NULL,
            created_by_member text,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            accepted_at timestamptz,
            member_id text,
            revoked_at timestamptz,
            PRIMARY KEY (tenant, invitation_id),
            CONSTRAINT invitations_digest_hex CHECK (digest ~ '^[0-9a-f]{{64}}$'),
            CONSTRAINT invitations_role_known CHECK ({_ROLES}),
            CONSTRAINT invitations_expire_later CHECK (expires_at > created_at),
            CONSTRAINT invitations_end_once CHECK (accepted_at IS NULL OR revoked_at IS NULL),
            CONSTRAINT invitations_accepted_make_a_member CHECK ((accepted_at IS NULL) = (member_id IS NULL))
        )
    """)
    _create_teams()


def downgrade() -> None:
    """Refuse: the members would be lost."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")


def _create_teams() -> None:
    op.execute("""
        CREATE TABLE teams (
            tenant text NOT NULL REFERENCES tenants (tenant),
            team text NOT NULL,
            name text,
            created_at timestamptz NOT NULL,
            PRIMARY KEY (tenant, team)
        )
    """)
    op.execute("""
        CREATE TABLE team_members (
            tenant text NOT NULL,
            team text NOT NULL,
            member_id text NOT NULL,
            PRIMARY KEY (tenant, team, member_id),
            FOREIGN KEY (tenant, team) REFERENCES teams (tenant, team) ON DELETE CASCADE,
            FOREIGN KEY (tenant, member_id) REFERENCES members (tenant, member_id) ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX team_members_by_member ON team_members (tenant, member_id)")
    for table in ("members", "invitations", "teams", "team_members"):
        enable_tenant_isolation(op, table)
