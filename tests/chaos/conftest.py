"""A stage for the tests that leave it as they found it, once they are over."""

from collections.abc import Iterator

import pytest

from tests.support.stage import Stage, running_stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_stage(tmp_path_factory.mktemp("stage") / "home") as running:
        yield running
