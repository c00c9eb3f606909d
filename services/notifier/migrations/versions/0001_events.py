"""The outbox of events, the audit's among them, and the numbers of the latter."""

import sqlalchemy as sa
from alembic import op

from keyferry.runtime.database.tenant_isolation import grant_to_tenants

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the event outbox and its counter."""
    op.create_table(
        "audit_sequence",
        sa.Column("only_row", sa.SmallInteger, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.CheckConstraint("only_row = 1", name="audit_sequence_has_one_row"),
    )
    op.execute("INSERT INTO audit_sequence (only_row, last) VALUES (1, 0)")
    op.create_table(
        "event_outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("sequence", sa.BigInteger, unique=True),
    )
    grant_to_tenants(op, "event_outbox", "INSERT")


def downgrade() -> None:
    """Refuse: the table may hold events that are not published."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
