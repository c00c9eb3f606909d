"""People who have signed in, and their sessions."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables. Of a session's token only the digest is stored."""
    _create_users()
    _create_sessions()
    op.execute(
        """
        CREATE TABLE used_sign_in_codes (
            digest text PRIMARY KEY,
            expires_at timestamptz NOT NULL,
            CONSTRAINT used_sign_in_codes_digest_hex CHECK (digest ~ '^[0-9a-f]{64}$')
        )
        """
    )
    op.execute("CREATE INDEX used_sign_in_codes_by_expiry ON used_sign_in_codes (expires_at)")


def _create_users() -> None:
    op.execute(
        """
        CREATE TABLE users (
            user_id text PRIMARY KEY,
            issuer text NOT NULL,
            subject text NOT NULL,
            name text NOT NULL,
            email text,
            created_at timestamptz NOT NULL,
            last_sign_in_at timestamptz NOT NULL,
            CONSTRAINT users_by_subject UNIQUE (issuer, subject)
        )
        """
    )


def _create_sessions() -> None:
    op.execute(
        """
        CREATE TABLE sessions (
            session_id text PRIMARY KEY,
            digest text NOT NULL UNIQUE,
            user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
            name text NOT NULL,
            email text,
            operator boolean NOT NULL,
            chosen_tenant text REFERENCES tenants,
            channel text NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            idle_seconds integer NOT NULL,
            last_seen_at timestamptz NOT NULL,
            acr text,
            amr text[] NOT NULL,
            auth_time timestamptz,
            CONSTRAINT sessions_digest_hex CHECK (digest ~ '^[0-9a-f]{64}$'),
            CONSTRAINT sessions_expire_later CHECK (expires_at > created_at),
            CONSTRAINT sessions_may_be_idle CHECK (idle_seconds > 0)
        )
        """
    )
    op.execute("CREATE INDEX sessions_by_user ON sessions (user_id, created_at)")
    op.execute("CREATE INDEX sessions_by_expiry ON sessions (expires_at)")


def downgrade() -> None:
    """Refuse: everybody would be signed out, and codes could be used again."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
