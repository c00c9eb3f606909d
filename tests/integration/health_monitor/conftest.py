"""A bus for the health monitor, with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.health_monitor.processes import MonitorServers
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[MonitorServers]:
    """Provide the provisioned bus, without any service."""
    async with provisioned_bus(tmp_path) as bus:
        yield MonitorServers(bus)
