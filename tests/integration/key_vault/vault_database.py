"""The vault's tables on a real PostgreSQL, and provider keys to store."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deploy.embedded import postgres
from keyferry.contracts import ids
from keyferry.contracts.key import KeyStatus, ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import to_base64
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.integration_secrets.store import IntegrationSecretStore
from services.key_vault.keys.fingerprint_store import FingerprintStore
from services.key_vault.keys.record_store import RecordStore
from services.key_vault.keys.reminder_store import ReminderStore
from services.key_vault.keys.store import KeyStore
from services.key_vault.leases.store import LeaseStore
from services.key_vault.leases.worker_store import WorkerStore
from services.key_vault.maintenance.integrity_check import IntegrityCheck
from services.key_vault.maintenance.kek_age_store import KekAgeStore
from tests.support.servers.migrated_database import migrated_database

DEPLOYMENT = "dep_test"
PROVIDER, ORIGIN = "openai", "https://api.openai.com"
CREATED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FINGERPRINT_KEY = bytes(range(32))


TABLES = (
    *("data_keys", "provider_keys", "key_records", "integration_secrets", "integration_secret_versions"),
    *("integration_secret_leases", "workers", "lease_nonces", "spend", "event_outbox", "outbox"),
)
"""In an order that satisfies the foreign keys."""


@dataclass(frozen=True)
class Stores:
    """Every store of the vault over one database."""

    database: Database
    keys: KeyStore
    records: RecordStore
    integrations: IntegrationSecretStore
    data_keys: DataKeyStore
    fingerprints: FingerprintStore
    leases: LeaseStore
    workers: WorkerStore
    kek_ages: KekAgeStore
    reminders: ReminderStore

    @classmethod
    def on(cls, engine: AsyncEngine) -> "Stores":
        database = Database(engine)
        return cls(
            database=database,
            keys=KeyStore(database),
            records=RecordStore(database),
            integrations=IntegrationSecretStore(database),
            data_keys=DataKeyStore(database),
            fingerprints=FingerprintStore(database),
            leases=LeaseStore(database),
            workers=WorkerStore(database),
            kek_ages=KekAgeStore(database),
            reminders=ReminderStore(database),
        )


@dataclass
class VaultDatabase:
    """The tables and the encryption of one vault process, without the bus."""

    engine: AsyncEngine
    url: str
    """libpq's, of the service's own role."""
    admin_url: str
    """libpq's, of the superuser."""
    keyring_file: Path
    deployment: str = DEPLOYMENT
    ttl_seconds: float = 60.0

    def __post_init__(self) -> None:
        self.stores = Stores.on(self.engine)
        self.keks = FileKeyring(self.keyring_file)
        self.data_keys = DataKeys(self.stores.data_keys, self.keks, self.deployment, ttl_seconds=self.ttl_seconds)
        self.encryption = EnvelopeEncryption(self.data_keys, self.deployment, FINGERPRINT_KEY)
        self.integrity = IntegrityCheck(self.stores.database, self.keks, self.data_keys, self.encryption)

    def restarted(self, *, ttl_seconds: float = 60.0, deployment: str = DEPLOYMENT) -> "VaultDatabase":
        """Return another process on the same tables, with nothing cached and the keyring read again."""
        return VaultDatabase(self.engine, self.url, self.admin_url, self.keyring_file, deployment, ttl_seconds)

    async def add(self, tenant: str, secret: Secret | None = None) -> tuple[ProviderKey, Secret]:
        """Store a key as the service does."""
        secret = secret or Secret(f"sk-{secrets.token_hex(16)}")
        key = provider_key(tenant, fingerprint=self.encryption.fingerprint(tenant, secret))
        record = await self.encryption.encrypt(key, secret)
        await self.stores.keys.insert(key, record, act("key.add", key), "A key was added.")
        return key, secret

    async def read(self, key: ProviderKey) -> Secret:
        """Decrypt a stored key, and fail the test if its record is missing."""
        record = await self.stores.records.get(key.tenant, key.key_id, key.version)
        assert record is not None
        return await self.encryption.decrypt(key, record)

    def rows(self, query: str) -> list[dict[str, object]]:
        """Run a query without the stores."""
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()

    def dump(self) -> dict[str, bytes]:
        """Return the contents of every table, like a backup."""
        return {table: b"".join(self._copied_out(table)) for table in TABLES}

    def restore(self, dump: Mapping[str, bytes], *tables: str) -> None:
        """Restore tables from a backup, all of them by default, as the superuser: row-level security forbids COPY to others."""
        with psycopg.connect(self.admin_url) as connection:
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
        """Execute a statement without the stores."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode(), values)


@asynccontextmanager
async def running_vault(directory: Path) -> AsyncIterator[VaultDatabase]:
    """Migrate a new database and yield a vault on it."""
    database = migrated_database(directory / "database", "key_vault")
    url = database.url_files["key_vault"].read_text()
    engine = create_async_engine(url, pool_size=10, hide_parameters=True)
    keyring_file = directory / "keks"
    write_keyring(keyring_file, keyring_line("first"))
    libpq_url = url.replace("postgresql+psycopg", "postgresql")
    try:
        yield VaultDatabase(engine, libpq_url, postgres.driver_url(database.admin_url), keyring_file)
    finally:
        await engine.dispose()


def keyring_line(name: str) -> str:
    """Return a new KEK as a keyring line."""
    return f"{name} {to_base64(secrets.token_bytes(32))}"


def write_keyring(file: Path, *lines: str) -> None:
    """Write a keyring with mode 0600, the first line primary."""
    draft = file.with_name(f"{file.name}.draft")
    draft.touch(mode=0o600)
    draft.write_text("".join(f"{line}\n" for line in lines))
    draft.replace(file)


def provider_key(tenant: str, *, fingerprint: str = "", **changes: object) -> ProviderKey:
    """Return a valid key of `tenant`."""
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
    """Return an act of the operator on a key."""
    return Act(actor="operator", action=action, tenant=key.tenant, target=key.key_id)
