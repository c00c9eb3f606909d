"""The step from the release before: what is stored stays, and what cannot be known is taken to be old."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres import migrate
from keyferry.contracts.secret import Secret
from services.key_vault.keys.store import KeyStore
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
    INSERT INTO key_vault.data_keys (data_key_id, tenant, wrapped, kek, is_primary, created_at)
    VALUES (%s, %s, '\\x00', %s, true, %s)
"""
RECORD = (
    "INSERT INTO key_vault.key_records (key_id, version, data_key_id, record) VALUES ('key_0001', 2, 'dek_1', '\\x01')"
)


@pytest.fixture
def admin_url() -> Secret:
    return shared_postgres().new_database()


def migrated(admin_url: Secret, folder: Path, last: str) -> str:
    """libpq's URL of the vault's tables, which are those of revision `last`."""
    root = folder / f"until-{last}"
    versions = migrate.versions_dir("key_vault", root)
    versions.mkdir(parents=True)
    for file in migrate.versions_dir("key_vault").glob("*.py"):
        if file.name[:4] <= last:
            shutil.copy(file, versions)
    files = migrate.migrate(admin_url, folder / "secrets", services=["key_vault"], services_root=root)
    return files["key_vault"].read_text()


async def test_the_step_to_ages_keeps_what_is_stored(admin_url: Secret, tmp_path: Path) -> None:
    url = migrated(admin_url, tmp_path, "0003").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        connection.execute(DATA_KEY, ("dek_1", "acme", "k1", NOW - timedelta(days=9)))
        connection.execute(DATA_KEY, ("dek_2", "globex", "k1", NOW - timedelta(days=3)))
        connection.execute(DATA_KEY, ("dek_3", "initech", "k2", NOW))
        connection.execute(KEY, (NOW - timedelta(days=5),))
        connection.execute(RECORD)
    engine = create_async_engine(migrated(admin_url, tmp_path, "0004"))
    try:
        store = KeyStore(engine)
        key = await store.get("acme", "key_0001")
        assert key is not None
        assert (key.version, key.created_at) == (2, NOW - timedelta(days=5))
        assert (key.rotated_at, key.rotated_by, key.rotation_due, key.credit_low) == (None, None, False, False)
        assert await store.sealed("acme", "key_0001", 2) is not None
        terms = {term.kek: term.since for term in await store.terms_in_use("k2", NOW + timedelta(days=1))}
        assert terms == {"k1": NOW - timedelta(days=9), "k2": NOW}
    finally:
        await engine.dispose()
