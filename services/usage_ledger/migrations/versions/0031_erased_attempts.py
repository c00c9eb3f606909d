"""What the attempts of deleted tenants came to, by month: what the books need of them."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE erased_attempts (
    tenant             text    NOT NULL,
    month              text    NOT NULL CHECK (month ~ '^[0-9]{4}-[0-9]{2}$'),
    provider           text    NOT NULL,
    key_source         text    NOT NULL,
    attempts           bigint  NOT NULL CHECK (attempts > 0),
    unpriced           bigint  NOT NULL CHECK (unpriced >= 0),
    cost_usd           numeric NOT NULL,
    charge_micro_usd   numeric NOT NULL,
    absorbed_micro_usd numeric NOT NULL,
    PRIMARY KEY (tenant, month, provider, key_source)
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(_TABLE)
    enable_tenant_isolation(op, "erased_attempts", privileges=("SELECT",))


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
