"""The vault's tables with a real PostgreSQL, and provider keys to put into them."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.postgres.migrate import migrate
from keyferry.contracts import ids
from keyferry.contracts.key import KeyStatus, ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import to_base64
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.keys.store import Act, KeyStore
from tests.support.servers.postgres import shared_postgres

DEPLOYMENT = "dep_test"
PROVIDER, ORIGIN = "openai", "https://api.openai.com"
CREATED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FINGERPRINT_KEY = bytes(range(32))


TABLES = ("data_keys", "provider_keys", "key_records", "workers", "lease_nonces", "spend", "event_outbox", "outbox")
"""In an order in which they can be filled."""


@dataclass
class VaultDatabase:
    """One process of the vault, as far as its tables and keys go."""

    engine: AsyncEngine
    url: str
    """libpq's, of the service's own role."""
    keyring_file: Path
    store: KeyStore
    keks: FileKeyring
    data_keys: DataKeys
    encryption: EnvelopeEncryption

    def restarted(self, *, ttl_seconds: float = 60.0, deployment: str = DEPLOYMENT) -> "VaultDatabase":
        """Another process on the same tables: nothing in memory, the keyring read again."""
        store, keks = KeyStore(self.engine), FileKeyring(self.keyring_file)
        data_keys = DataKeys(store, keks, deployment, ttl_seconds=ttl_seconds)
        encryption = EnvelopeEncryption(data_keys, deployment, FINGERPRINT_KEY)
        return VaultDatabase(self.engine, self.url, self.keyring_file, store, keks, data_keys, encryption)

    async def add(self, tenant: str, secret: Secret | None = None) -> tuple[ProviderKey, Secret]:
        """Store a key as the service does."""
        secret = secret or Secret(f"sk-{secrets.token_hex(16)}")
        key = provider_key(tenant, fingerprint=self.encryption.fingerprint(tenant, secret))
        sealed = await self.encryption.keep(tenant, PROVIDER, key.key_id, key.version, ORIGIN, secret)
        await self.store.insert(key, sealed, act("key.add", key), "A key was added.")
        return key, secret

    async def read(self, key: ProviderKey) -> Secret:
        """Open a stored key; fails the test where its record is not there."""
        sealed = await self.store.sealed(key.tenant, key.key_id, key.version)
        assert sealed is not None
        return await self.encryption.open(key, sealed)

    def rows(self, query: str) -> list[dict[str, object]]:
        """What a query answers, past the store."""
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    def dump(self) -> dict[str, bytes]:
        """The contents of every table, as a backup has them."""
        return {table: b"".join(self._copied_out(table)) for table in TABLES}

    def restore(self, dump: Mapping[str, bytes], *tables: str) -> None:
        """Put tables back as a backup has them; all of them where none is named."""
        with psycopg.connect(self.url) as connection:
            for table in reversed(tables or TABLES):
                connection.execute(f"DELETE FROM key_vault.{table}".encode())
            for table in tables or TABLES:
                with connection.cursor() as cursor, cursor.copy(f"COPY key_vault.{table} FROM STDIN".encode()) as copy:
                    copy.write(dump[table])

    def _copied_out(self, table: str) -> Iterator[bytes]:
        statement = f"COPY key_vault.{table} TO STDOUT".encode()
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in copy:
                yield bytes(row)

    def execute(self, statement: str, *values: object) -> None:
        """Meddle with the tables."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode(), values)


@asynccontextmanager
async def running_vault(directory: Path) -> AsyncIterator[VaultDatabase]:
    """A vault on a database of its own."""
    admin_url = shared_postgres().new_database()
    url_files = migrate(admin_url, directory / "database", services=["key_vault"])
    url = url_files["key_vault"].read_text()
    engine = create_async_engine(url, pool_size=10, hide_parameters=True)
    keyring_file = directory / "keks"
    write_keyring(keyring_file, keyring_line("first"))
    store, keks = KeyStore(engine), FileKeyring(keyring_file)
    data_keys = DataKeys(store, keks, DEPLOYMENT)
    encryption = EnvelopeEncryption(data_keys, DEPLOYMENT, FINGERPRINT_KEY)
    libpq_url = url.replace("postgresql+psycopg", "postgresql")
    try:
        yield VaultDatabase(engine, libpq_url, keyring_file, store, keks, data_keys, encryption)
    finally:
        await engine.dispose()


def keyring_line(name: str) -> str:
    """A fresh KEK as a line of a keyring."""
    return f"{name} {to_base64(secrets.token_bytes(32))}"


def write_keyring(file: Path, *lines: str) -> None:
    """A keyring of these lines, the first one primary; for its owner only."""
    draft = file.with_name(f"{file.name}.draft")
    draft.touch(mode=0o600)
    draft.write_text("".join(f"{line}\n" for line in lines))
    draft.replace(file)


def provider_key(tenant: str, *, fingerprint: str = "", **changes: object) -> ProviderKey:
    """A valid key of `tenant`."""
    key = ProviderKey(
        key_id=ids.new(ids.PROVIDER_KEY),
        tenant=tenant,
        provider=PROVIDER,
        label="main",
        status=KeyStatus.VALID,
        version=1,
        origin=ORIGIN,
        base_url=f"{ORIGIN}/v1",
        masked="sk-…A9f2",
        fingerprint=fingerprint or secrets.token_hex(8),
        created_at=CREATED_AT,
        created_by="operator",
    )
    return key.model_copy(update=changes)


def act(action: str, key: ProviderKey) -> Act:
    """What the operator does with a key."""
    return Act(actor="operator", action=action, tenant=key.tenant, target=key.key_id)
