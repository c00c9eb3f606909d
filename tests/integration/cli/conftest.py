"""One provisioned bus per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bus import Installation, installation


@pytest.fixture
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """A real server with the deployed permissions."""
    directory: Path = tmp_path_factory.mktemp("bus")
    async with installation(directory) as found:
        yield found
