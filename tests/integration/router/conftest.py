"""Servers for the router: a database per test and a bus with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.postgres.migrate import migrate
from tests.integration.router.processes import RouterServers
from tests.support.servers.postgres import shared_postgres
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[RouterServers]:
    """Provide the provisioned and migrated servers of an installation, without any service."""
    admin_url = shared_postgres(synced=False).new_database()
    url_files = migrate(admin_url, tmp_path / "database", services=["router"])
    async with provisioned_bus(tmp_path) as bus:
        yield RouterServers(bus, url_files["router"])
