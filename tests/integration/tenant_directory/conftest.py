"""Servers for the tenant directory: a database per test and a bus with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.tenant_directory.processes import PEPPER, DirectoryServers
from tests.support.servers.migrated_database import migrated_database
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[DirectoryServers]:
    """Provide the provisioned and migrated servers of an installation, without any service."""
    database = migrated_database(tmp_path / "database", "tenant_directory")
    pepper_file = tmp_path / "pepper"
    pepper_file.write_text(PEPPER.reveal())
    async with provisioned_bus(tmp_path) as bus:
        yield DirectoryServers(bus, database.admin_url, database.url_files["tenant_directory"], pepper_file)
