"""PostgreSQL repeats the whole row that it refuses, to the client and in its own log: no row of the vault's holds a key."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from keyferry.contracts.secret import Secret
from services.key_vault.leases.store import Nonce
from tests.integration.key_vault.vault_database import TABLES, VaultDatabase, act, running_vault
from tests.support.canary.searcher import Canary, CapturedOutput, Searcher
from tests.support.servers.postgres import shared_postgres

KEY = "sk-canary-Zq8Xw2Lr6Tn0Vb4KdYm3Pc5Hs7"
SEARCHER = Searcher([Canary("the key", KEY, public_prefix="sk-canary-")])


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[VaultDatabase]:
    async with running_vault(tmp_path) as running:
        key, _ = await running.add("acme", Secret(KEY))
        nonce = Nonce("worker/boot/nonce", datetime.now(UTC) + timedelta(minutes=1))
        await running.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce)
        yield running


def refusals(vault: VaultDatabase, table: str) -> list[str]:
    """What the server says when each of a table's rows comes again with one column emptied, column by column.

    It says it to the superuser, and so in its log: to a role under row-level security it repeats no row.
    """
    said = []
    with psycopg.connect(vault.admin_url, autocommit=True) as connection:
        columns = [
            str(row[0])
            for row in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'key_vault' AND table_name = %s"
                " AND is_nullable = 'NO' AND is_identity = 'NO' AND is_generated = 'NEVER'",
                (table,),
            )
        ]
        for emptied in columns:
            listed = ", ".join(columns)
            values = ", ".join("NULL" if column == emptied else column for column in columns)
            statement = f"INSERT INTO key_vault.{table} ({listed}) SELECT {values} FROM key_vault.{table}"
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                said.append(f"{error} {error.diag.message_detail}")
    return said


async def test_database_errors_contain_no_key(vault: VaultDatabase) -> None:
    said = {table: refusals(vault, table) for table in TABLES}
    for table in ("provider_keys", "key_records", "data_keys", "event_outbox", "lease_nonces"):
        assert any("Failing row contains" in detail for detail in said[table]), table
    emissions = [CapturedOutput("postgres", table, "\n".join(detail).encode()) for table, detail in said.items()]
    assert SEARCHER.sightings(emissions) == []


def test_database_error_would_contain_a_plaintext_key() -> None:
    """The negative case, with a table that nobody would make."""
    url = shared_postgres().new_database().reveal().replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE naive (tenant text NOT NULL, key text)")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("INSERT INTO naive VALUES (NULL, %s)", (KEY,))
    detail = f"{refused.value.diag.message_detail}".encode()
    assert SEARCHER.sightings([CapturedOutput("postgres", "naive", detail)])
