"""One running system for all end-to-end tests that do not break it."""

from collections.abc import Iterator

import pytest

from tests.support.system import KeyferrySystem, running_system


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyferrySystem]:
    with running_system(tmp_path_factory.mktemp("system") / "home") as running:
        yield running
