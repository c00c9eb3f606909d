"""What Alembic runs for every service: its migrations, on the connection it is given, into that service's schema."""

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
