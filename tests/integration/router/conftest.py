"""Servers for the router: a database per test and a bus with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyferry.contracts.providers import PROVIDERS
from tests.integration.router.processes import RouterServers
from tests.support.servers.migrated_database import migrated_database
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[RouterServers]:
    """Provide the provisioned and migrated servers of an installation, without any service."""
    database = migrated_database(tmp_path / "database", "router")
    try:
        async with provisioned_bus(tmp_path) as bus:
            yield RouterServers(bus, database.url_files["router"])
    finally:
        PROVIDERS.install((), {})  # routers run in this process, and with them the providers that a test has added
