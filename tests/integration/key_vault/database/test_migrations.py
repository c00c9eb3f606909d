"""The migration on an empty database: the stores read rows that leave out every column with a default."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres.migrate import migrate
from services.key_vault.database.transaction import Database
from services.key_vault.keys.record_store import RecordStore
from services.key_vault.keys.store import KeyStore
from services.key_vault.maintenance.kek_age_store import KekAgeStore
from tests.support.servers.postgres import shared_postgres

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
KEY = """
    INSERT INTO key_vault.provider_keys
        (key_id, tenant, provider, label, status, version, origin, base_url, fields, priority, weight, over_limit,
         models, masked, fingerprint, created_at, created_by)
    VALUES ('key_0001', 'acme', 'openai', 'main', 'valid', 2, 'https://api.openai.com', 'https://api.openai.com/v1',
            '{}', 100, 1, false, '{}', 'sk-…A9f2', '0123456789abcdef', %s, 'operator')
"""
DATA_KEY = """
    INSERT INTO key_vault.data_keys (data_key_id, tenant, encrypted_key, kek, is_primary)
    VALUES (%s, %s, '\\x00', %s, true)
"""
RECORD = (
    "INSERT INTO key_vault.key_records (key_id, version, data_key_id, record) VALUES ('key_0001', 2, 'dek_1', '\\x01')"
)
KEK_AGE = "INSERT INTO key_vault.kek_ages (kek, since) VALUES ('k1', %s)"


async def test_rows_with_default_values_can_be_read(tmp_path: Path) -> None:
    url_files = migrate(shared_postgres(synced=False).new_database(), tmp_path / "secrets", services=["key_vault"])
    url = url_files["key_vault"].read_text()
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        connection.execute(DATA_KEY, ("dek_1", "acme", "k1"))
        connection.execute(DATA_KEY, ("dek_2", "globex", "k1"))
        connection.execute(DATA_KEY, ("dek_3", "initech", "k2"))
        connection.execute(KEY, (NOW - timedelta(days=5),))
        connection.execute(RECORD)
        connection.execute(KEK_AGE, (NOW - timedelta(days=9),))
    engine = create_async_engine(url)
    try:
        database = Database(engine)
        key = await KeyStore(database).get("acme", "key_0001")
        assert key is not None
        assert (key.version, key.created_at) == (2, NOW - timedelta(days=5))
        assert (key.rotated_at, key.rotated_by, key.rotation_due, key.credit_low) == (None, None, False, False)
        assert await RecordStore(database).get("acme", "key_0001", 2) is not None
        ages = {age.kek: age.since for age in await KekAgeStore(database).track("k2", NOW)}
        assert ages == {"k1": NOW - timedelta(days=9), "k2": NOW}
    finally:
        await engine.dispose()
