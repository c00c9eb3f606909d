"""The last revision of each tenant's draft of rules, so that no later draft ever gets the number of one that is gone."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, with the drafts that there are."""
    op.execute(
        """
        CREATE TABLE rule_draft_revisions (
            tenant   text   PRIMARY KEY,
            revision bigint NOT NULL CHECK (revision >= 1)
        )
        """
    )
    op.execute("INSERT INTO rule_draft_revisions (tenant, revision) SELECT tenant, revision FROM rule_drafts")


def downgrade() -> None:
    """Refuse: numbers of drafts would be used twice."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
