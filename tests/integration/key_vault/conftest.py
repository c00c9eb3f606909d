"""Fixtures of the vault's integration tests: its tables, its tables beside a bus, and the whole service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.key_vault.vault_database import VaultDatabase, running_vault
from tests.integration.key_vault.vault_on_bus import VaultOnBus
from tests.integration.key_vault.vault_service import KeyFiles, Operator, VaultService, Worker
from tests.support.servers.migrated_database import migrated_database
from tests.support.servers.provisioned_bus import provisioned_bus


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[VaultDatabase]:
    """The vault's tables and encryption, on a database of the test's own."""
    async with running_vault(tmp_path) as running:
        yield running


@pytest.fixture
async def on_bus(tmp_path: Path) -> AsyncIterator[VaultOnBus]:
    """The vault's tables and a bus with the deployed permissions; no process runs yet."""
    async with running_vault(tmp_path) as vault, provisioned_bus(tmp_path) as bus:
        yield VaultOnBus(bus, vault)


@pytest.fixture
async def stopped_service(tmp_path: Path) -> AsyncIterator[VaultService]:
    """A migrated database and a provisioned bus; the vault does not run yet."""
    url_files = migrated_database(tmp_path / "database", "key_vault").url_files
    async with provisioned_bus(tmp_path) as bus:
        yield VaultService(bus, url_files["key_vault"], KeyFiles(tmp_path / "keys"))


@pytest.fixture
async def service(stopped_service: VaultService) -> AsyncIterator[VaultService]:
    """A running vault."""
    async with stopped_service.vault():
        yield stopped_service


@pytest.fixture
async def worker(service: VaultService) -> AsyncIterator[Worker]:
    """A registered worker that tests keys."""
    async with service.worker() as registered:
        yield registered


@pytest.fixture
async def operator(service: VaultService) -> AsyncIterator[Operator]:
    """A connection with the operator's credentials."""
    async with service.operator() as connected:
        yield connected
