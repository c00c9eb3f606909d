"""Servers for the usage ledger: a database per test, and a bus with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.servers.migrated_database import migrated_database
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
