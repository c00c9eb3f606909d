"""For the billing's stores: a database that the tests of a module share."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.schema import BILLING_SCHEMA
from tests.support.servers.migrated_database import migrated_database


@pytest.fixture(scope="module")
def billing_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of the billing's own role in a migrated database."""
    found = migrated_database(tmp_path_factory.mktemp("database"), "billing")
    return found.url_files["billing"].read_text()


@pytest.fixture
async def billing_database(billing_url: str) -> AsyncIterator[ServiceDatabase]:
    """Provide the billing's database; its events stay in the outbox."""
    engine = create_async_engine(billing_url, pool_size=8)
    yield ServiceDatabase(engine, BILLING_SCHEMA)
    await engine.dispose()
