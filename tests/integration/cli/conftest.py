"""One provisioned bus per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus


@pytest.fixture
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProvisionedBus]:
    """A real server with the deployed permissions."""
    directory: Path = tmp_path_factory.mktemp("bus")
    async with provisioned_bus(directory) as found:
        yield found
