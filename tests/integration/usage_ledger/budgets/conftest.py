"""A database with the ledger's tables, shared by all tests here: each uses a tenant of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.integration.usage_ledger.budgets.ledger import BudgetLedger
from tests.support.servers.migrated_database import MigratedDatabase, migrated_database


@pytest.fixture(scope="package")
def database(tmp_path_factory: pytest.TempPathFactory) -> MigratedDatabase:
    """Provide a migrated database."""
    return migrated_database(tmp_path_factory.mktemp("budgets"), "usage_ledger", synced=True)


@pytest.fixture(scope="package")
def url(database: MigratedDatabase) -> str:
    """Return the URL of the ledger's own role."""
    return Path(database.url_files["usage_ledger"]).read_text()


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Provide connections of the ledger's own role. What these tests commit need not survive a power cut."""
    engine = create_async_engine(
        url, pool_size=16, max_overflow=0, connect_args={"options": "-c synchronous_commit=off"}
    )
    yield engine
    await engine.dispose()


@pytest.fixture
def ledger(engine: AsyncEngine) -> BudgetLedger:
    """Provide the stores of a ledger process."""
    return BudgetLedger(engine)
