"""Row-level security: a second wall between tenants, under the filters of the statements.

Each schema has two roles: the service's own, which owns the tables and logs in, and `<role>_tenant`, which the service takes for
a transaction in a `tenant_scope`. Under it PostgreSQL shows and accepts rows of the tenant in the setting `app.tenant` only, and
without the setting none. Migrations call `enable_tenant_isolation` for each table with rows of tenants, and `grant_to_tenants`
for what else such a transaction uses. What an applied migration did stays: change these functions for later migrations only.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.runtime.tenant_scope import scoped_tenant

SETTING = "app.tenant"
"""The setting with the tenant whose rows the tenant role sees."""
CURRENT_TENANT = f"current_setting('{SETTING}', true)"
TENANT_POLICY, SERVICE_POLICY, SHARED_POLICY = "rows_of_the_tenant", "rows_for_the_service", "rows_shown_to_all"
_SUFFIX = "_tenant"
_ROLE = "role of the transaction"
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
_ENTER = f"SELECT set_config('{SETTING}', %(tenant)s, true), set_config('role', %(role)s, true)"
"""Both end with the transaction, so that a pooled connection keeps neither."""


class MigrationOperations(Protocol):
    """What is used of Alembic's `op`."""

    def get_bind(self) -> Connection:
        """Return the connection of the migration."""

    def execute(self, sqltext: str) -> None:
        """Run a statement."""


def tenant_role(service_role: str) -> str:
    """Return the name of the role that sees one tenant's rows."""
    return f"{service_role}{_SUFFIX}"


def enable_tenant_isolation(
    op: MigrationOperations,
    table: str,
    *,
    owner: str = "tenant",
    shown_to_all: str | None = None,
    privileges: tuple[str, ...] = _ALL,
    copied_into: bool = False,
) -> None:
    """Limit the tenant role to a tenant's rows of `table`, with these privileges; the service's own role keeps all rows.

    `owner` is the SQL expression for the tenant of a row: a column, or a subquery where rows belong to a tenant through
    another table. Rows that meet the SQL condition `shown_to_all`, such as the platform's rules, may be read by every tenant.
    Name a table `copied_into` if the service fills it by COPY, which PostgreSQL refuses where row-level security is forced on the
    owner as well; the owner's policy admits all rows anyway. Use `op` of Alembic, in a migration that runs as the service's role.
    """
    service, tenant = _roles(op)
    own = f"{owner} = {CURRENT_TENANT}"
    for statement in (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} {'NO FORCE' if copied_into else 'FORCE'} ROW LEVEL SECURITY",
        f"CREATE POLICY {TENANT_POLICY} ON {table} TO {tenant} USING ({own}) WITH CHECK ({own})",
        f"CREATE POLICY {SERVICE_POLICY} ON {table} TO {service} USING (true) WITH CHECK (true)",
        f"GRANT {', '.join(privileges)} ON {table} TO {tenant}",
    ):
        op.execute(statement)
    if shown_to_all is not None:
        op.execute(f"CREATE POLICY {SHARED_POLICY} ON {table} FOR SELECT TO {tenant} USING ({shown_to_all})")


def grant_to_tenants(op: MigrationOperations, table: str, *privileges: str) -> None:
    """Allow the tenant role to use a table that has no rows of tenants, or to add to an outbox (`INSERT` only)."""
    op.execute(f"GRANT {', '.join(privileges)} ON {table} TO {_roles(op)[1]}")


def confine_to_scope(engine: AsyncEngine) -> None:
    """Have each transaction of `engine` that begins in a `tenant_scope` run as the tenant role, for that tenant."""
    role = tenant_role(str(engine.url.username))

    def on_begin(connection: Connection) -> None:
        tenant = scoped_tenant()
        # In autocommit mode there is no transaction to confine: such statements, of relays and leases, are for all tenants.
        if tenant is None or connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            connection.info.pop(_ROLE, None)
            return
        connection.exec_driver_sql(_ENTER, {"tenant": tenant, "role": role})
        connection.info[_ROLE] = role

    event.listen(engine.sync_engine, "begin", on_begin)


@asynccontextmanager
async def as_service(connection: AsyncConnection) -> AsyncIterator[None]:
    """Run the statements of the block as the service's own role, in a transaction that may be confined to a tenant.

    Only for what cannot be done with the tenant's own rows, such as the next number of all audit entries, and for finding ids by
    an index that row-level security cannot use. Say why beside it, and read what an answer shows outside of the block. A block
    within another one changes nothing.
    """
    info = connection.info
    role = info.get(_ROLE)
    if role is None:
        yield
        return
    await connection.exec_driver_sql("SET LOCAL ROLE NONE")
    del info[_ROLE]
    try:
        yield
    except BaseException:
        # If the transaction is over with it, so is its role.
        with suppress(SQLAlchemyError):
            await connection.exec_driver_sql(f'SET LOCAL ROLE "{role}"')
        raise
    finally:
        info[_ROLE] = role
    await connection.exec_driver_sql(f'SET LOCAL ROLE "{role}"')


def _roles(op: MigrationOperations) -> tuple[str, str]:
    """Return the quoted names of the service's role and of its tenant role."""
    service = str(op.get_bind().scalar(text("SELECT current_user")))
    return f'"{service}"', f'"{tenant_role(service)}"'
