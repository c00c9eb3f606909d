"""The tables of the notifier, for tests and for the list of what a tenant has; statements are written as SQL.

A change of a channel, endpoint or report is committed together with its audit event.
"""

from sqlalchemy import Boolean, Column, DateTime, Index, Integer, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import BigInteger, LargeBinary

from services.notifier.schema import NOTIFIER_SCHEMA

_METADATA = NOTIFIER_SCHEMA.metadata


def _moment(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


targets = Table(
    "targets",
    _METADATA,
    Column("target_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default="true"),
    Column("failures", Integer, nullable=False, server_default="0"),
    _moment("failing_since"),
    _moment("paused_until"),
    _moment("last_delivered_at"),
    Column("last_error", Text),
    _moment("switched_off_at"),
    Index("targets_by_tenant", "tenant"),
)
"""Where deliveries go: a channel, a webhook endpoint, or `owners:<tenant>`; and how it does."""
channels = Table(
    "channels",
    _METADATA,
    Column("channel_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("terms", JSONB, nullable=False),
    Column("revision", BigInteger, nullable=False),
    _moment("created_at", nullable=False),
    Index("channels_by_tenant", "tenant", "created_at"),
)
addresses = Table(
    "addresses",
    _METADATA,
    Column("tenant", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("code_digest", LargeBinary),
    _moment("code_expires_at"),
    _moment("code_sent_at"),
    Column("wrong_codes", SmallInteger, nullable=False, server_default="0"),
    _moment("confirmed_at"),
)
"""Addresses that are no member's: those that are confirmed, and those that a code was sent to."""
webhook_endpoints = Table(
    "webhook_endpoints",
    _METADATA,
    Column("endpoint_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False),
    Column("secret_id", Text, nullable=False),
    _moment("previous_secret_until"),
    Column("revision", BigInteger, nullable=False),
    _moment("created_at", nullable=False),
    Index("webhook_endpoints_by_tenant", "tenant", "created_at"),
)
removed_secrets = Table(
    "removed_secrets",
    _METADATA,
    Column("secret_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
)
"""Secrets of removed endpoints that the vault has not destroyed yet."""
deliveries = Table(
    "deliveries",
    _METADATA,
    Column("delivery_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("target_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("order_key", Text),
    Column("sequence", BigInteger),
    Column("critical", Boolean, nullable=False, server_default="false"),
    Column("payload", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _moment("created_at", nullable=False),
    _moment("next_attempt_at", nullable=False),
    _moment("claimed_until"),
    _moment("last_attempt_at"),
    _moment("finished_at"),
    Column("status", Integer),
    Column("latency_ms", BigInteger),
    Column("answer", Text),
    Column("replay_of", Text),
    Index("deliveries_once", "target_id", "event_id", unique=True, postgresql_where=text("replay_of IS NULL")),
    Index("deliveries_open", "target_id", "next_attempt_at", postgresql_where=text("finished_at IS NULL")),
    Index("deliveries_in_order", "target_id", "order_key", "sequence", postgresql_where=text("finished_at IS NULL")),
    Index("deliveries_log", "target_id", "delivery_id"),
    Index("deliveries_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    Index("deliveries_by_tenant", "tenant"),
)
"""The queue and the log in one: what is not finished is to be sent. Deliveries to a target with one `order_key` are in order."""
alert_positions = Table(
    "alert_positions",
    _METADATA,
    Column("tenant", Text, primary_key=True),
    Column("rule_id", Text, primary_key=True),
    Column("last_sequence", BigInteger, nullable=False),
    Column("skipped", ARRAY(BigInteger), nullable=False, server_default="{}"),
)
"""Up to which change each rule's notifications are in the queue, and which were missing by then."""
early_alerts = Table(
    "early_alerts",
    _METADATA,
    Column("tenant", Text, primary_key=True),
    Column("rule_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("payload", Text, nullable=False),
    _moment("received_at", nullable=False),
)
"""Changes whose predecessors have not arrived here yet."""
unpriced_attempts = Table(
    "unpriced_attempts",
    _METADATA,
    Column("attempt_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    _moment("received_at", nullable=False),
    _moment("asked_at"),
    Index("unpriced_attempts_by_tenant", "tenant", "received_at"),
)
"""Attempts of tenants with an endpoint for usage, until the ledger has returned them with their prices."""
reports = Table(
    "reports",
    _METADATA,
    Column("report_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("terms", JSONB, nullable=False),
    Column("revision", BigInteger, nullable=False),
    _moment("created_at", nullable=False),
    _moment("next_at"),
    Index("reports_by_tenant", "tenant", "created_at"),
    Index("reports_due", "next_at"),
)
report_runs = Table(
    "report_runs",
    _METADATA,
    Column("report_id", Text, primary_key=True),
    Column("period_start", DateTime(timezone=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    _moment("period_end", nullable=False),
    Column("state", Text, nullable=False),
    _moment("at", nullable=False),
    _moment("next_attempt_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("detail", Text),
    Index("report_runs_open", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
    Index("report_runs_by_tenant", "tenant"),
)
