"""A vault's tables for every test of what is at rest."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.key_vault.at_rest.vault import Vault, running_vault


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    """One vault on a database of its own."""
    async with running_vault(tmp_path) as vault:
        yield vault
