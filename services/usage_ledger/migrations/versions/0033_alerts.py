"""Alert rules, alerts with their history, what makes them be looked at again, and the outbox of events."""

import sqlalchemy as sa
from alembic import op

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation, grant_to_tenants

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_RULES = """
CREATE TABLE alert_rules (
    tenant     text        NOT NULL,
    rule_id    text        NOT NULL CHECK (rule_id ~ '^alr_[a-z0-9_]{1,60}$'),
    terms      jsonb       NOT NULL CHECK (jsonb_typeof(terms) = 'object'),
    revision   bigint      NOT NULL CHECK (revision >= 1),
    created_at timestamptz NOT NULL,
    removed_at timestamptz,
    PRIMARY KEY (tenant, rule_id)
)
"""
_SEQUENCES = """
CREATE TABLE alert_sequences (
    tenant  text   NOT NULL,
    rule_id text   NOT NULL,
    last    bigint NOT NULL CHECK (last >= 1),
    PRIMARY KEY (tenant, rule_id)
) WITH (fillfactor = 70)
"""
_ALERTS = """
CREATE TABLE alerts (
    alert_id    text        COLLATE "C" PRIMARY KEY,
    tenant      text        NOT NULL,
    rule_id     text        NOT NULL,
    rule_name   text        NOT NULL,
    metric      text        NOT NULL,
    scope       jsonb       NOT NULL,
    subject     text        NOT NULL,
    severity    text        NOT NULL,
    channels    jsonb,
    title       text        NOT NULL,
    text        text        NOT NULL,
    value       numeric,
    threshold   numeric,
    unit        text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('fired', 'acknowledged', 'resolved')),
    fired_at    timestamptz NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    key_action  text        CHECK (key_action IN ('due', 'done', 'refused')),
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
)
"""
_STEPS = """
CREATE TABLE alert_steps (
    tenant   text        NOT NULL,
    rule_id  text        NOT NULL,
    sequence bigint      NOT NULL CHECK (sequence >= 1),
    alert_id text        NOT NULL REFERENCES alerts (alert_id) ON DELETE CASCADE,
    state    text        NOT NULL,
    at       timestamptz NOT NULL,
    actor    text,
    value    numeric,
    PRIMARY KEY (tenant, rule_id, sequence)
)
"""
_CAUSES = """
CREATE TABLE alert_causes (
    tenant        text   PRIMARY KEY,
    first_quarter bigint,
    marks         bigint NOT NULL,
    since         timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50)
"""
_REPORTS = """
CREATE TABLE alert_reports (
    tenant      text        NOT NULL,
    metric      text        NOT NULL,
    subject     text        NOT NULL,
    text        text        NOT NULL,
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, metric, subject)
)
"""


def upgrade() -> None:
    """Create the tables."""
    for statement in (_RULES, _SEQUENCES, _ALERTS, _STEPS, _CAUSES, _REPORTS):
        op.execute(statement)
    # At most one alert of a rule is open for each subject, whichever process evaluates.
    op.execute("CREATE UNIQUE INDEX alerts_open ON alerts (tenant, rule_id, subject) WHERE state <> 'resolved'")
    op.execute("CREATE INDEX alerts_by_tenant ON alerts (tenant, alert_id)")
    op.execute("CREATE INDEX alerts_by_rule ON alerts (tenant, rule_id, subject, resolved_at)")
    op.execute("CREATE INDEX alerts_key_due ON alerts (alert_id) WHERE key_action = 'due'")
    op.execute("CREATE INDEX alert_steps_by_alert ON alert_steps (alert_id)")
    for table in ("alert_rules", "alert_sequences", "alerts", "alert_steps", "alert_causes", "alert_reports"):
        enable_tenant_isolation(op, table)
    op.create_table(
        "event_counter",
        sa.Column("only_row", sa.SmallInteger, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.CheckConstraint("only_row = 1", name="event_counter_has_one_row"),
    )
    op.execute("INSERT INTO event_counter (only_row, last) VALUES (1, 0)")
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
    """Refuse: the rules exist nowhere else."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
