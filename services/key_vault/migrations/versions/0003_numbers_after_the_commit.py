"""Audit events are numbered after their commit; those that wait with a number in their payload go out as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_outbox", sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("event_outbox", sa.Column("sequence", sa.BigInteger))
    op.create_unique_constraint("event_outbox_sequence_key", "event_outbox", ["sequence"])


def downgrade() -> None:
    op.drop_column("event_outbox", "sequence")
    op.drop_column("event_outbox", "counted")
