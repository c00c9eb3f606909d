"""Servers for the vault: a database of the test's own and a bus with the deployed permissions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.postgres.migrate import migrate
from tests.integration.key_vault.service.surroundings import KeyFiles, Operator, Surroundings, Worker
from tests.support.bus import installation
from tests.support.servers import shared_postgres


@pytest.fixture
async def surroundings(tmp_path: Path) -> AsyncIterator[Surroundings]:
    """An installation's servers, provisioned and migrated, without any service."""
    url_files = migrate(shared_postgres().new_database(), tmp_path / "database", services=["key_vault"])
    async with installation(tmp_path) as bus:
        yield Surroundings(bus, url_files["key_vault"], KeyFiles(tmp_path / "keys"))


@pytest.fixture
async def vault(surroundings: Surroundings) -> AsyncIterator[Surroundings]:
    """The same with a running vault."""
    async with surroundings.vault():
        yield surroundings


@pytest.fixture
async def worker(vault: Surroundings) -> AsyncIterator[Worker]:
    """A worker that tests keys."""
    async with vault.worker() as found:
        yield found


@pytest.fixture
async def operator(vault: Surroundings) -> AsyncIterator[Operator]:
    """Somebody who manages keys."""
    async with vault.operator() as found:
        yield found
