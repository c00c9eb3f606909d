"""A scripted system for the tests of this package that leave it as they found it; it ends with the last of them."""

from collections.abc import Iterator

import pytest

from tests.support.system.scripted_system import ScriptedSystem, running_scripted_system


@pytest.fixture(scope="package")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedSystem]:
    with running_scripted_system(tmp_path_factory.mktemp("stage") / "home") as running:
        yield running
