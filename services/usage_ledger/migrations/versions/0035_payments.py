"""Payments in the ledger: what was recorded of each, and accounts of what tenants owe."""

from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_KINDS = "'credits', 'allowance', 'budget', 'lease', 'debt', 'platform'"
_PAYMENTS = """
CREATE TABLE credit_payments (
    source            text        NOT NULL,
    kind              text        NOT NULL CHECK (kind ~ '^[a-z_]{1,40}$'),
    source_id         text        NOT NULL,
    tenant            text        NOT NULL,
    amount_micro_usd  bigint      NOT NULL CHECK (amount_micro_usd > 0),
    taken_micro_usd   bigint      NOT NULL DEFAULT 0 CHECK (taken_micro_usd >= 0),
    owed_micro_usd    bigint      NOT NULL DEFAULT 0 CHECK (owed_micro_usd >= 0),
    already_granted   boolean     NOT NULL DEFAULT false,
    reason            text        NOT NULL,
    receipt           jsonb       NOT NULL,
    happened_at       timestamptz NOT NULL,
    recorded_at       timestamptz NOT NULL,
    PRIMARY KEY (source, kind, source_id),
    CONSTRAINT credit_payments_take_what_they_are_about
        CHECK (taken_micro_usd + owed_micro_usd IN (0, amount_micro_usd))
)
"""
_APPEND_ONLY = """
CREATE TRIGGER credit_payments_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_payments
    FOR EACH STATEMENT EXECUTE FUNCTION transfers_are_append_only()
"""


def upgrade() -> None:
    """Add the kind of account and the table."""
    op.execute("ALTER TABLE accounts DROP CONSTRAINT accounts_have_a_known_kind")
    op.execute(
        "ALTER TABLE accounts ADD CONSTRAINT accounts_have_a_known_kind"
        f" CHECK (split_part(name, '/', 1) IN ({_KINDS})) NOT VALID"
    )
    # What is there already met the narrower rules, so it need not be read again.
    op.execute("ALTER TABLE transfers DROP CONSTRAINT transfers_between_allowed_accounts")
    op.execute("""
        ALTER TABLE transfers ADD CONSTRAINT transfers_between_allowed_accounts CHECK (
            CASE split_part(debit, '/', 1)
                WHEN 'platform' THEN split_part(credit, '/', 1) <> 'lease' AND debit <> credit
                WHEN 'lease' THEN split_part(credit, '/', 1) NOT IN ('lease', 'debt')
                WHEN 'debt' THEN split_part(credit, '/', 1) = 'platform'
                ELSE split_part(credit, '/', 1) IN ('lease', 'platform')
            END) NOT VALID
    """)
    # A dispute takes credits and may give them back: one object of the payment provider, two transfers. A purchase that an
    # operator granted by hand still counts as the same one.
    op.execute("DROP INDEX transfers_one_per_source")
    op.execute("""
        CREATE UNIQUE INDEX transfers_one_per_source ON transfers
            (source, source_id, (CASE WHEN purpose IN ('grant', 'purchase') THEN 'purchase' ELSE purpose END))
        WHERE source IS NOT NULL
    """)
    # There from the beginning, so that transactions can lock them before they know whether they need them.
    op.execute("""
        INSERT INTO accounts (name, unit, opened_at)
        VALUES ('platform/debts', 'micro_usd', now()), ('platform/payments', 'micro_usd', now()) ON CONFLICT DO NOTHING
    """)
    op.execute("CREATE INDEX accounts_positive_debts ON accounts (name) WHERE kind = 'debt' AND is_positive")
    op.execute(_PAYMENTS)
    op.execute("CREATE INDEX credit_payments_by_time ON credit_payments (source, happened_at, kind, source_id)")
    op.execute("CREATE INDEX credit_payments_by_tenant ON credit_payments (tenant)")
    op.execute(_APPEND_ONLY)
    enable_tenant_isolation(op, "credit_payments", privileges=("SELECT",))
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON credit_payments FROM CURRENT_USER")


def downgrade() -> None:
    """Refuse: these tables hold accounts."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
