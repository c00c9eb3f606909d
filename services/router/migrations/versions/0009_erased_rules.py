"""Published versions of rules can be removed where their tenant is deleted, and in no other way."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the function of the trigger."""
    op.execute("""
CREATE OR REPLACE FUNCTION rule_versions_are_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('keyferry.erasing', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'published versions of rules are never changed, and removed with their tenant only';
END $$
""")


def downgrade() -> None:
    """Refuse, as all migrations do."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
