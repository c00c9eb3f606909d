"""Integration secrets, their encrypted versions, and which processes have read them."""

import sqlalchemy as sa
from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIMESTAMP = sa.DateTime(timezone=True)
_OF_THE_SECRET = "(SELECT s.tenant FROM integration_secrets AS s WHERE s.secret_id = {table}.secret_id)"  # noqa: S105


def upgrade() -> None:
    """Create the tables, isolated by tenant."""
    _secrets()
    secret = sa.ForeignKey("integration_secrets.secret_id", ondelete="CASCADE")
    op.create_table(
        "integration_secret_versions",
        sa.Column("secret_id", sa.Text, secret, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("data_key_id", sa.Text, sa.ForeignKey("data_keys.data_key_id"), nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index(
        "integration_secret_versions_by_data_key",
        "integration_secret_versions",
        ["data_key_id", "secret_id", "version"],
    )
    op.create_table(
        "integration_secret_leases",
        sa.Column(
            "secret_id",
            sa.Text,
            sa.ForeignKey("integration_secrets.secret_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("reader", sa.Text, primary_key=True),
        sa.Column("instance_id", sa.Text, primary_key=True),
        sa.Column("leased_at", TIMESTAMP, nullable=False),
    )
    op.create_index("integration_secret_leases_by_age", "integration_secret_leases", ["leased_at"])
    enable_tenant_isolation(op, "integration_secrets")
    for table in ("integration_secret_versions", "integration_secret_leases"):
        enable_tenant_isolation(op, table, owner=_OF_THE_SECRET.format(table=table))


def _secrets() -> None:
    op.create_table(
        "integration_secrets",
        sa.Column("secret_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("masked", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("rotated_at", TIMESTAMP),
        sa.Column("rotated_by", sa.Text),
        sa.Column("previous_until", TIMESTAMP),
        sa.CheckConstraint("fingerprint ~ '^[0-9a-f]{16}$'", name="integration_secrets_fingerprint_hex"),
        sa.CheckConstraint("version >= 1", name="integration_secrets_version_positive"),
        sa.UniqueConstraint("tenant", "kind", "name", name="integration_secrets_one_name"),
    )
    op.create_index(
        "integration_secrets_expiring",
        "integration_secrets",
        ["previous_until"],
        postgresql_where=sa.text("previous_until IS NOT NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
