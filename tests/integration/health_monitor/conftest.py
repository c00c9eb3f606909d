"""A bus for the health monitor, with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.health_monitor.processes import MonitorServers
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the monitor look ten times as often at its bucket and its clock."""
    monkeypatch.setattr("services.health_monitor.publisher._TICK_SECONDS", 0.1)
    monkeypatch.setattr("services.health_monitor.publisher._FOLLOW_SECONDS", 0.2)
    monkeypatch.setattr("services.health_monitor.latency_publisher._ROUND_SECONDS", 0.2)


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[MonitorServers]:
    """Provide the provisioned bus, without any service."""
    async with provisioned_bus(tmp_path) as bus:
        yield MonitorServers(bus)
