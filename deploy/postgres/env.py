"""Alembic environment of every service: runs its migrations on the given connection, in that service's schema."""

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import text

from keyferry.runtime.database.schema_check import VERSION_TABLE, migrations_digest

attributes = context.config.attributes


def _record_digest(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    """Record which migrations made the tables, in the transaction of each migration."""
    assert ctx.connection is not None
    assert step.up_revision_id is not None
    digest = migrations_digest(attributes["versions_dir"], step.up_revision_id)
    # Neither part comes from outside: a schema is a service's name, and a digest is hexadecimal.
    ctx.connection.execute(text(f"COMMENT ON TABLE {attributes['schema']}.{VERSION_TABLE} IS '{digest}'"))


context.configure(
    connection=attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=attributes["schema"],
    transaction_per_migration=True,
    on_version_apply=_record_digest,
)
with context.begin_transaction():
    context.run_migrations()
