"""Running systems for all end-to-end tests that do not break them.

They end with the last test of this package, and it is one for that: ten idle processes would slow all tests after it.
"""

from collections.abc import Iterator

import pytest

from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.vault.keyed_system import KeyedSystem, running_keyed_system


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyferrySystem]:
    with running_system(tmp_path_factory.mktemp("system") / "home", {"KEYFERRY_BILLING": "demo"}) as running:
        yield running


LEASE_SECONDS = 15
"""Longer than any liveness bound of a revocation, so that no lease that ends by itself passes for one."""


@pytest.fixture(scope="package")
def keyed_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedSystem]:
    """Run a system with provider keys, for tests that create tenants of their own."""
    settings = {"KEYFERRY_LEASE_SECONDS": str(LEASE_SECONDS), "KEYFERRY_BILLING": "demo"}
    with running_keyed_system(tmp_path_factory.mktemp("keys") / "home", settings) as running:
        yield running
