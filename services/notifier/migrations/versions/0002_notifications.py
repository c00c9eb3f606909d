"""Channels, webhook endpoints, scheduled reports, and the queue of what is sent to them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from keyferry.runtime.database.tenant_isolation import enable_tenant_isolation

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, each limited to a tenant's rows."""
    _create_targets()
    _create_channels()
    _create_addresses()
    _create_webhook_endpoints()
    _create_removed_secrets()
    _create_deliveries()
    _create_alert_positions()
    _create_early_alerts()
    _create_unpriced_attempts()
    _create_reports()
    _create_report_runs()


def downgrade() -> None:
    """Refuse: the tables may hold notifications that are not sent."""
    raise NotImplementedError("migrations only go forward; restore a backup to go back")


def _create_targets() -> None:
    op.create_table(
        "targets",
        sa.Column("target_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default="true"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failing_since", sa.DateTime(timezone=True)),
        sa.Column("paused_until", sa.DateTime(timezone=True)),
        sa.Column("last_delivered_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text),
        sa.Column("switched_off_at", sa.DateTime(timezone=True)),
    )
    op.create_index("targets_by_tenant", "targets", ["tenant"])
    enable_tenant_isolation(op, "targets")


def _create_channels() -> None:
    op.create_table(
        "channels",
        sa.Column("channel_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("terms", postgresql.JSONB, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("channels_by_tenant", "channels", ["tenant", "created_at"])
    enable_tenant_isolation(op, "channels")


def _create_addresses() -> None:
    op.create_table(
        "addresses",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, primary_key=True),
        sa.Column("code_digest", sa.LargeBinary),
        sa.Column("code_expires_at", sa.DateTime(timezone=True)),
        sa.Column("code_sent_at", sa.DateTime(timezone=True)),
        sa.Column("wrong_codes", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
    )
    enable_tenant_isolation(op, "addresses")


def _create_webhook_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("secret_id", sa.Text, nullable=False),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True)),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("webhook_endpoints_by_tenant", "webhook_endpoints", ["tenant", "created_at"])
    enable_tenant_isolation(op, "webhook_endpoints")


def _create_removed_secrets() -> None:
    op.create_table(
        "removed_secrets",
        sa.Column("secret_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
    )
    enable_tenant_isolation(op, "removed_secrets")


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("target_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("order_key", sa.Text),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("critical", sa.Boolean, nullable=False, server_default="false"),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True)),
        sa.Column("last_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("status", sa.Integer),
        sa.Column("latency_ms", sa.BigInteger),
        sa.Column("answer", sa.Text),
        sa.Column("replay_of", sa.Text),
    )
    op.create_index("deliveries_by_tenant", "deliveries", ["tenant"])
    op.create_index(
        "deliveries_finished", "deliveries", ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    op.create_index(
        "deliveries_in_order",
        "deliveries",
        ["target_id", "order_key", "sequence"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index("deliveries_log", "deliveries", ["target_id", "delivery_id"])
    op.create_index(
        "deliveries_once",
        "deliveries",
        ["target_id", "event_id"],
        unique=True,
        postgresql_where=sa.text("replay_of IS NULL"),
    )
    op.create_index(
        "deliveries_open",
        "deliveries",
        ["target_id", "next_attempt_at"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    enable_tenant_isolation(op, "deliveries")


def _create_alert_positions() -> None:
    op.create_table(
        "alert_positions",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("rule_id", sa.Text, primary_key=True),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
    )
    enable_tenant_isolation(op, "alert_positions")


def _create_early_alerts() -> None:
    op.create_table(
        "early_alerts",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("rule_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
    )
    enable_tenant_isolation(op, "early_alerts")


def _create_unpriced_attempts() -> None:
    op.create_table(
        "unpriced_attempts",
        sa.Column("attempt_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True)),
    )
    op.create_index("unpriced_attempts_by_tenant", "unpriced_attempts", ["tenant", "received_at"])
    enable_tenant_isolation(op, "unpriced_attempts")


def _create_reports() -> None:
    op.create_table(
        "reports",
        sa.Column("report_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("terms", postgresql.JSONB, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True)),
    )
    op.create_index("reports_by_tenant", "reports", ["tenant", "created_at"])
    op.create_index("reports_due", "reports", ["next_at"])
    enable_tenant_isolation(op, "reports")


def _create_report_runs() -> None:
    op.create_table(
        "report_runs",
        sa.Column("report_id", sa.Text, primary_key=True),
        sa.Column("period_start", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("detail", sa.Text),
    )
    op.create_index("report_runs_by_tenant", "report_runs", ["tenant"])
    op.create_index(
        "report_runs_open", "report_runs", ["next_attempt_at"], postgresql_where=sa.text("next_attempt_at IS NOT NULL")
    )
    enable_tenant_isolation(op, "report_runs")
