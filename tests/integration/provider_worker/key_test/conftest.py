"""Servers for key tests that the vault requests over the bus."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.key_vault.vault_database import running_vault
from tests.integration.key_vault.vault_on_bus import VaultOnBus
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture
async def on_bus(tmp_path: Path) -> AsyncIterator[VaultOnBus]:
    """The vault's tables and a bus, and no process yet."""
    async with running_vault(tmp_path) as vault, provisioned_bus(tmp_path) as bus:
        yield VaultOnBus(bus, vault)
