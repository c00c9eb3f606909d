"""Alembic environment of every service: runs its migrations on the given connection, in that service's schema."""

from alembic import context

from keyferry.runtime.database.schema_check import VERSION_TABLE

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=attributes["schema"],
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
