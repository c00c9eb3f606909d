"""Row-level security under every table of tenants, as it is in the database: policies, rights, and what raw SQL reaches."""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.embedded import postgres
from deploy.postgres.roles import SERVICES_WITH_TABLES
from keyferry.runtime.database.engine import engine_for
from keyferry.runtime.database.tenant_isolation import SERVICE_POLICY, SHARED_POLICY, TENANT_POLICY, as_service
from keyferry.runtime.process.settings import DatabaseSettings
from keyferry.runtime.tenant_scope import tenant_scope
from tests.support.servers.migrated_database import MigratedDatabase, migrated_database

OWN, FOREIGN = "acme", "globex"
OUTBOXES = {"outbox": {"INSERT"}, "event_outbox": {"INSERT"}}
WITHOUT_TENANTS: dict[str, dict[str, set[str]]] = {
    "key_vault": OUTBOXES
    | {"workers": {"SELECT"}}
    | {name: set() for name in ("audit_sequence", "kek_ages", "lease_nonces", "schema_version")},
    "router": OUTBOXES
    | {name: set() for name in ("audit_sequence", "catalog_models", "providers", "prices", "schema_version")},
    # People sign in once for all tenants of theirs.
    "tenant_directory": OUTBOXES
    | {name: set() for name in ("audit_sequence", "schema_version", "users", "sessions", "used_sign_in_codes")},
    "billing": {"event_outbox": {"INSERT"}}
    | {name: set() for name in ("stripe_events", "stripe_health", "stripe_reconciliations")}
    | {name: set() for name in ("audit_sequence", "lago_progress", "schema_version")},
    "notifier": {"event_outbox": {"INSERT"}} | {name: set() for name in ("audit_sequence", "schema_version")},
    "usage_ledger": {"outbox": {"INSERT"}, "event_outbox": {"INSERT"}}
    | {name: set() for name in ("account_verification", "credit_epochs", "credit_watermarks", "detached_partitions")}
    | {
        name: set()
        for name in (
            "packing",
            "projection_checks",
            "event_counter",
            "reratings",
            "schema_version",
            "service_level_counts",
            "usage_rollup_state",
        )
    },
}
"""Every table without rows of tenants, and what the tenant role may do with it. All others have to be isolated."""
COPIED_INTO = {"attempts"}
"""COPY is refused where row-level security is forced on the owner."""
TABLES = """
    SELECT c.relname AS name, c.relrowsecurity AS isolated, c.relforcerowsecurity AS forced, c.relkind AS kind,
        c.reloptions AS options, c.relispartition AS is_partition,
        EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant' AND NOT attisdropped) AS has_tenant,
        ARRAY(SELECT polname::text || ' for ' || pg_get_userbyid(polroles[1]) FROM pg_policy WHERE polrelid = c.oid
            ORDER BY 1) AS policies,
        ARRAY(SELECT upper(p) FROM unnest(ARRAY['select', 'insert', 'update', 'delete', 'truncate']) AS p
            WHERE has_table_privilege(%(tenant_role)s, c.oid, p) ORDER BY 1) AS privileges,
        pg_get_userbyid(c.relowner) AS owner
    FROM pg_class AS c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1
"""


@dataclass(frozen=True)
class CatalogTable:
    """A table as the catalog has it."""

    name: str
    isolated: bool
    forced: bool
    kind: str
    options: list[str] | None
    is_partition: bool
    has_tenant: bool
    policies: list[str]
    privileges: list[str]
    owner: str


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> MigratedDatabase:
    return migrated_database(tmp_path_factory.mktemp("isolated"), *SERVICES_WITH_TABLES)


@pytest.fixture
def admin(database: MigratedDatabase) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(postgres.driver_url(database.admin_url), autocommit=True) as connection:
        yield connection


@pytest.fixture(params=SERVICES_WITH_TABLES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def engine(database: MigratedDatabase, service: str) -> AsyncIterator[AsyncEngine]:
    found = _engine(database, service)
    yield found
    await found.dispose()


def _engine(database: MigratedDatabase, service: str) -> AsyncEngine:
    settings = DatabaseSettings.model_construct(database_url_file=database.url_files[service])
    return engine_for(settings, pool_size=1)


def _role(database: MigratedDatabase, service: str) -> str:
    return str(make_url(database.url_files[service].read_text()).username)


def _tables(
    admin: psycopg.Connection[tuple[object, ...]], database: MigratedDatabase, service: str
) -> list[CatalogTable]:
    with admin.cursor(row_factory=psycopg.rows.class_row(CatalogTable)) as cursor:
        values = {"schema": service, "tenant_role": f"{_role(database, service)}_tenant"}
        return cursor.execute(TABLES.encode(), values).fetchall()


def test_every_table_of_tenants_is_isolated(
    admin: psycopg.Connection[tuple[object, ...]], database: MigratedDatabase, service: str
) -> None:
    role = _role(database, service)
    tables = _tables(admin, database, service)
    assert len(tables) > 3
    for table in tables:
        name = f"{service}.{table.name}"
        assert table.owner == role, f"{name}: the owner is not subject to the tenant's policy"
        assert table.kind in "rp", (
            f"{name}: a view shows its owner's rows unless it is a security_invoker: add that here"
        )
        assert "TRUNCATE" not in table.privileges, name
        if table.is_partition:
            assert table.privileges == [], f"{name}: a partition of its own has no policy; its table has"
        elif table.name in WITHOUT_TENANTS[service]:
            assert not table.has_tenant, f"{name} has rows of tenants: call enable_tenant_isolation in a migration"
            assert set(table.privileges) == WITHOUT_TENANTS[service][table.name], name
        else:
            assert table.isolated, f"{name}: call enable_tenant_isolation in a migration, or add it to WITHOUT_TENANTS"
            assert table.forced == (table.name not in COPIED_INTO), name
            policies = {policy for policy in table.policies if not policy.startswith(SHARED_POLICY)}
            assert policies == {f"{TENANT_POLICY} for {role}_tenant", f"{SERVICE_POLICY} for {role}"}, name
    assert WITHOUT_TENANTS[service].keys() <= {table.name for table in tables}, "a table is gone: remove it here"


def test_tenant_roles_have_no_rights_but_those(
    admin: psycopg.Connection[tuple[object, ...]], database: MigratedDatabase, service: str
) -> None:
    role = _role(database, service)
    rights = "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolinherit FROM pg_roles WHERE rolname = %s"
    assert admin.execute(rights.encode(), (f"{role}_tenant",)).fetchone() == (False, False, False, False, True)
    assert admin.execute(rights.encode(), (role,)).fetchone() == (True, False, False, False, True)
    member = """SELECT inherit_option, set_option, admin_option FROM pg_auth_members
        WHERE roleid = %s::regrole AND member = %s::regrole"""
    assert admin.execute(member.encode(), (f"{role}_tenant", role)).fetchall() == [(False, True, False)]
    others = [f"{_role(database, other)}_tenant" for other in SERVICES_WITH_TABLES if other != service]
    for other in others:
        usable = admin.execute(b"SELECT has_schema_privilege(%s, %s, 'usage')", (other, service)).fetchone()
        assert usable == (False,)


# --- rows of two tenants in every table


COLUMNS = """
    SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''
        AND (attname = 'tenant' OR (attnotnull AND NOT atthasdef)
            OR attnum = ANY (SELECT unnest(indkey) FROM pg_index WHERE indrelid = attrelid AND indisprimary))
    ORDER BY attnum
"""
VALUES: dict[str, object] = {
    "bigint": 1,
    "integer": 1,
    "smallint": 1,
    "numeric": 1,
    "boolean": True,
    "jsonb": "{}",
    "bytea": b"x",
    "timestamp with time zone": "2026-11-30Z",
    "date": "2026-11-30",
    "bigint[]": "{1}",
    "integer[]": "{1}",
    "text[]": "{x}",
    "xid8": "1",
}
ACCOUNTS = {"debit", "credit", "account", "name"}
"""Columns with names of accounts, by which rows belong to a tenant."""


def _value(service: str, column: str, type_name: str, tenant: str, number: int) -> object:
    """Return a value of a tenant's row; rows of one tenant refer to each other, as they have the same ids."""
    if column == "tenant":
        return tenant
    if type_name in ("text", "character varying"):
        if service == "usage_ledger" and column in ACCOUNTS:
            return f"credits/{tenant}" if number == 1 else f"credits/{tenant}/{number}"
        return f"{column} {number} of {tenant}"
    if type_name == "uuid":
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{column} {number} of {tenant}")
    base, _, size = type_name.partition("(")
    return "0" * int(size.rstrip(")")) if base == "bit" else VALUES[base]


def _insert(
    admin: psycopg.Connection[tuple[object, ...]], service: str, table: str, tenant: str, number: int = 1
) -> tuple[str, dict[str, object]]:
    """Return the statement that inserts a row, and its values."""
    columns = admin.execute(COLUMNS.encode(), (f"{service}.{table}",)).fetchall()
    values = {str(name): _value(service, str(name), str(kind), tenant, number) for name, kind in columns}
    names = ", ".join(values)
    given = ", ".join(f"CAST(%({name})s AS {kind})" for name, kind in columns)
    return f"INSERT INTO {service}.{table} ({names}) VALUES ({given})", values


@pytest.fixture
def filled(
    admin: psycopg.Connection[tuple[object, ...]], database: MigratedDatabase, service: str
) -> list[CatalogTable]:
    """Return the isolated tables of a service, each with one row of both tenants, whatever their other constraints are."""
    tables = [table for table in _tables(admin, database, service) if table.isolated]
    checks = """SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname) FROM pg_constraint
        WHERE connamespace = %s::regnamespace AND contype IN ('c', 'f') AND conparentid = 0 AND conislocal"""
    for (statement,) in admin.execute(checks.encode(), (service,)).fetchall():
        admin.execute(str(statement).encode())
    admin.execute("SET session_replication_role = replica")
    for table in tables:
        admin.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(service, table.name)))
        for tenant in (OWN, FOREIGN):
            statement, values = _insert(admin, service, table.name, tenant)
            admin.execute(statement.encode(), values)
    return tables


async def test_raw_sql_as_the_tenant_role_finds_no_foreign_row(
    engine: AsyncEngine, service: str, filled: list[CatalogTable]
) -> None:
    found = 0
    for table in filled:
        statement = f"SELECT t::text FROM {service}.{table.name} AS t"
        with tenant_scope(OWN):
            if "SELECT" not in table.privileges:
                await _is_refused(engine, statement)
                continue
            async with engine.begin() as connection:
                rows = (await connection.scalars(text(statement))).all()
        own = 0 if table.name == "platform_fingerprints" else 1
        assert len(rows) == own, table.name
        assert all(FOREIGN not in row for row in rows), table.name
        found += own
        async with engine.begin() as connection:
            assert len((await connection.scalars(text(statement))).all()) == 2, "the service itself has all rows"
    assert found >= 2


async def test_foreign_rows_are_neither_changed_nor_added(
    engine: AsyncEngine, service: str, filled: list[CatalogTable], admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    for table in filled:
        name = f"{service}.{table.name}"
        own = 0 if table.name == "platform_fingerprints" else 1
        statement, values = _insert(admin, service, table.name, FOREIGN, number=2)
        column = next(iter(values))
        with tenant_scope(OWN):
            await _is_refused(engine, statement, values)
            for privilege, change in (
                ("UPDATE", f"UPDATE {name} SET {column} = {column}"),
                ("DELETE", f"DELETE FROM {name}"),
            ):
                if privilege not in table.privileges:
                    await _is_refused(engine, change)
                    continue
                async with engine.connect() as connection:
                    assert (await connection.execute(text(change))).rowcount == own, name
                    await connection.rollback()
            if "UPDATE" in table.privileges and "tenant" in values and own:
                await _is_refused(engine, f"UPDATE {name} SET tenant = '{FOREIGN}'")


async def _is_refused(engine: AsyncEngine, statement: str, values: dict[str, object] | None = None) -> None:
    with pytest.raises(ProgrammingError) as refused:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement, values or {})
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege), statement


# --- the role and the setting of a transaction


WHO = "SELECT current_user, coalesce(current_setting('app.tenant', true), '')"


@pytest.fixture
async def directory(database: MigratedDatabase) -> AsyncIterator[AsyncEngine]:
    found = _engine(database, "tenant_directory")
    async with found.begin() as connection:
        await connection.execute(text("DELETE FROM tenant_directory.client_tokens"))
        await connection.execute(text("DELETE FROM tenant_directory.tenants"))
        for tenant in (OWN, FOREIGN):
            await connection.execute(
                text("INSERT INTO tenant_directory.tenants (tenant, name, tier) VALUES (:tenant, :tenant, 'free')"),
                {"tenant": tenant},
            )
    yield found
    await found.dispose()


async def _who(engine: AsyncEngine) -> tuple[str, str]:
    async with engine.begin() as connection:
        role, tenant = (await connection.execute(text(WHO))).one()
    return role, tenant


async def test_a_pooled_connection_keeps_neither_role_nor_tenant(directory: AsyncEngine) -> None:
    role = str(directory.url.username)
    assert await _who(directory) == (role, "")
    with tenant_scope(OWN):
        assert await _who(directory) == (f"{role}_tenant", OWN)
    assert await _who(directory) == (role, "")
    with tenant_scope(OWN):
        async with directory.connect() as connection:
            await connection.execute(text(WHO))
            await connection.rollback()
        with pytest.raises(DBAPIError):
            async with directory.begin() as connection:
                await connection.execute(text("SELECT 1 / 0"))
    assert await _who(directory) == (role, "")
    with tenant_scope(OWN), tenant_scope(None):
        assert await _who(directory) == (role, "")


async def test_one_statement_runs_as_the_service_and_the_next_as_the_tenant_again(directory: AsyncEngine) -> None:
    role = str(directory.url.username)
    with tenant_scope(OWN):
        async with directory.begin() as connection:
            async with as_service(connection):
                assert await connection.scalar(text("SELECT count(*) FROM tenants")) == 2
            assert await connection.scalar(text("SELECT count(*) FROM tenants")) == 1
            async with as_service(connection):
                async with as_service(connection):
                    pass
                assert await connection.scalar(text("SELECT count(*) FROM tenants")) == 2, "of two blocks the outer one"
            assert await connection.scalar(text("SELECT count(*) FROM tenants")) == 1
            with pytest.raises(LookupError):
                async with as_service(connection):
                    raise LookupError
            assert await connection.scalar(text("SELECT count(*) FROM tenants")) == 1
            with pytest.raises(DBAPIError):
                async with as_service(connection):
                    await connection.execute(text("SELECT 1 / 0"))
    async with directory.begin() as connection, as_service(connection):
        assert await connection.scalar(text("SELECT current_user")) == role


async def test_without_a_tenant_the_tenant_role_finds_nothing(directory: AsyncEngine) -> None:
    async with directory.begin() as connection:
        await connection.exec_driver_sql(f'SET LOCAL ROLE "{directory.url.username}_tenant"')
        assert await connection.scalar(text("SELECT count(*) FROM tenants")) == 0


@pytest.mark.parametrize(
    "name",
    [f"{OWN}', true), set_config('app.tenant', '{FOREIGN}", f"{FOREIGN}\x27; RESET ROLE; --", "", "%", FOREIGN.upper()],
)
async def test_a_tenants_name_is_a_value_whatever_it_contains(directory: AsyncEngine, name: str) -> None:
    with tenant_scope(name):
        assert await _who(directory) == (f"{directory.url.username}_tenant", name)
        async with directory.begin() as connection:
            assert (await connection.scalars(text("SELECT tenant FROM tenants"))).all() == []


@pytest.mark.parametrize(
    "injected",
    [
        f"x' UNION SELECT set_config('app.tenant', '{FOREIGN}', true) || tenant FROM tenants --",
        "x' UNION SELECT set_config('role', session_user, true) || tenant FROM tenants --",
        f"x'; SET LOCAL app.tenant = '{FOREIGN}'; SELECT tenant FROM tenants --",
        "x'; RESET ROLE; SELECT tenant FROM tenants --",
        f"x' UNION SELECT query_to_xml('SET LOCAL app.tenant = {FOREIGN}', true, true, '')::text --",
    ],
)
async def test_an_injection_into_a_statement_with_values_cannot_switch_the_tenant(
    directory: AsyncEngine, injected: str
) -> None:
    """Statements with values are sent as one prepared statement, and setting is neither a function for it nor a second one."""
    with tenant_scope(OWN):
        with pytest.raises(DBAPIError):
            async with directory.begin() as connection:
                await connection.execute(
                    text(f"SELECT tenant FROM tenants WHERE tenant <> :other AND name = '{injected}"),
                    {"other": "nobody"},
                )
        async with directory.begin() as connection:
            assert (await connection.scalars(text("SELECT tenant FROM tenants"))).all() == [OWN]


def test_only_the_runtime_makes_engines_for_services() -> None:
    """Transactions of any other engine would not be confined."""
    root = Path(__file__).parents[3]
    makers = [
        str(path.relative_to(root))
        for part in ("services", "shared")
        for path in sorted((root / part).rglob("*.py"))
        if "create_async_engine(" in path.read_text() or "create_engine(" in path.read_text()
    ]
    assert makers == ["shared/keyferry/runtime/database/engine.py"]
