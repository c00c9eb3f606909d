"""A real system for the parity test, beside the fake."""

from collections.abc import Iterator

import pytest

from tests.support.system.keyferry_system import KeyferrySystem, running_system


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyferrySystem]:
    with running_system(tmp_path_factory.mktemp("client") / "home") as running:
        yield running
