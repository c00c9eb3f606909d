"""Servers for the usage ledger: a database per test, and a bus with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.postgres.migrate import migrate
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.servers.postgres import shared_postgres
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[LedgerServers]:
    """Provide provisioned and migrated servers, without any service; no operator has set a price."""
    admin_url = shared_postgres().new_database()
    url_files = migrate(admin_url, tmp_path / "database", services=["usage_ledger"])
    async with provisioned_bus(tmp_path) as bus:
        found = LedgerServers(bus, admin_url, url_files["usage_ledger"], tmp_path)
        await found.publish_prices({})
        yield found
