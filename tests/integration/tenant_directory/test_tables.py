"""The tables that the migrations create."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import make_url

from keyferry.runtime.database.schema_check import VERSION_TABLE
from services.tenant_directory import session_tables as session_tables
from services.tenant_directory.tables import SCHEMA, metadata
from tests.integration.tenant_directory.processes import DirectoryServers

TOKEN = {
    "token_id": "'tok_1'",
    "tenant": "'platform'",
    "label": "'l'",
    "fingerprint": "repeat('ab', 32)",
    "pepper_version": "1",
    "last4": "'wXyZ'",
    "created_at": "now()",
}


@pytest.fixture
def connection(servers: DirectoryServers) -> Iterator[psycopg.Connection]:
    """Connect as the service's own role."""
    url = make_url(servers.database_url_file.read_text().strip()).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        yield connection


def insert(connection: psycopg.Connection, **changed: str) -> None:
    row = TOKEN | changed
    statement = f"INSERT INTO {SCHEMA}.client_tokens ({', '.join(row)}) VALUES ({', '.join(row.values())})"
    connection.execute(statement.encode())


def test_migrations_match_the_stores_metadata(servers: DirectoryServers) -> None:
    # With another default schema the comparison sees the tables under their schema's name.
    engine = create_engine(
        servers.database_url_file.read_text().strip(),
        poolclass=NullPool,
        connect_args={"options": "-c search_path=public"},
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, parents: kind != "schema" or name == SCHEMA,
                "include_object": lambda thing, name, kind, reflected, compared: name != VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_a_valid_row_is_accepted(connection: psycopg.Connection) -> None:
    insert(connection)
    insert(connection, token_id="'tok_2'", fingerprint="repeat('cd', 32)", allowed_models="ARRAY['gpt-x']")


@pytest.mark.parametrize(
    "wrong",
    [
        {"fingerprint": "'AB'"},
        {"fingerprint": "repeat('AB', 32)"},
        {"fingerprint": "NULL"},
        {"tenant": "'nobody'"},
        {"allowed_models": "ARRAY[]::text[]"},
        {"expires_at": "now() - interval '1 day'"},
        {"pepper_version": "NULL"},
    ],
    ids=str,
)
def test_an_invalid_row_is_rejected(connection: psycopg.Connection, wrong: dict[str, str]) -> None:
    with pytest.raises(psycopg.IntegrityError):
        insert(connection, **wrong)


def test_no_two_tokens_share_a_fingerprint(connection: psycopg.Connection) -> None:
    insert(connection)
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(connection, token_id="'tok_2'")


def test_an_unknown_tier_is_rejected(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("INSERT INTO tenant_directory.tenants (tenant, name, tier) VALUES ('a', 'A', 'golden')")


def test_an_unknown_key_policy_is_rejected(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE tenant_directory.tenants SET key_policy = 'everybody'")
