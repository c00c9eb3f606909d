"""A process of an earlier build re-rates nothing any more: what it corrects would be in no sum, and be corrected once more."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

# It does not know these columns. Its transaction fails with its transfer, and the re-rating goes on in a process of this build.
_WHOLE = """
ALTER TABLE rerated_attempts
    ADD CONSTRAINT corrections_are_whole CHECK (pricing IS NOT NULL AND pricing_before IS NOT NULL) NOT VALID
"""


def upgrade() -> None:
    """Check new rows. Those that are there were put into the sums when the columns were added."""
    op.execute(_WHOLE)


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
