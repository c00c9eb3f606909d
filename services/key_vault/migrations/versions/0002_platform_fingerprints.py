"""What keys the platform ever had, by fingerprint."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "platform_fingerprints",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("platform_fingerprints")
