"""Ratings of answers, and the outbox of the view of their sums."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "ratings",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("rater", sa.Text, primary_key=True),
        sa.Column("rating", sa.SmallInteger, nullable=False),
        sa.Column("operation", sa.Text),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name="ratings_are_one_to_five"),
    )
    op.create_index("ratings_by_model", "ratings", ["tenant", "provider", "model", "operation"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("bucket", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary),
    )


def downgrade() -> None:
    """Refuse: the ratings exist nowhere else."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
