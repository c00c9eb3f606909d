"""For the usage ledger: servers per test, and for tests of its stores alone a database that the tests of a module share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.servers.migrated_database import MigratedDatabase, migrated_database
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch that failed in this process come again ten times as soon."""
    monkeypatch.setattr("keyferry.runtime.bus.pulling._REDELIVERY_DELAY_SECONDS", 0.2)


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[LedgerServers]:
    """Provide provisioned and migrated servers, without any service; no operator has set a price."""
    database = migrated_database(tmp_path / "database", "usage_ledger", synced=True)
    async with provisioned_bus(tmp_path) as bus:
        found = LedgerServers(bus, database.admin_url, database.url_files["usage_ledger"], tmp_path)
        await found.publish_prices({})
        yield found


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> MigratedDatabase:
    """Provide a migrated database, in which each test uses tenants and accounts of its own."""
    return migrated_database(tmp_path_factory.mktemp("database"), "usage_ledger", synced=True)


@pytest.fixture(scope="module")
def url(database: MigratedDatabase) -> str:
    """Return the URL of the ledger's own role."""
    return database.url_files["usage_ledger"].read_text()


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Provide connections of the ledger's own role. What these tests commit need not survive a power cut."""
    engine = create_async_engine(
        url, pool_size=16, max_overflow=0, connect_args={"options": "-c synchronous_commit=off"}
    )
    yield engine
    await engine.dispose()
