"""What operators change about models, providers and prices."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and the sequence of their revisions."""
    op.execute("CREATE SEQUENCE catalog_revision AS bigint")
    op.create_table(
        "catalog_models",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("entry", JSONB, nullable=False),
    )
    op.create_table(
        "providers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("entry", JSONB, nullable=False),
    )
    op.create_table(
        "prices",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("effective", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("entry", JSONB, nullable=False),
    )


def downgrade() -> None:
    """Refuse: the tables may hold what operators configured."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
