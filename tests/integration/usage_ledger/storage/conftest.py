"""An empty ledger for each test of its tables: these count rows and look at partitions, so they share none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.servers.migrated_database import migrated_database


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Provide connections of the ledger's own role."""
    database = migrated_database(tmp_path, "usage_ledger")
    engine = create_async_engine(database.url_files["usage_ledger"].read_text())
    yield engine
    await engine.dispose()
