"""A real system for the parity test, beside the fake."""

from collections.abc import Iterator

import pytest

from tests.support.system.keyferry_system import KeyferrySystem, running_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyferrySystem]:
    # The fake has one attempt per request; what the gateway retries by itself is tested elsewhere.
    home = tmp_path_factory.mktemp("client") / "home"
    with running_system(home, {"KEYFERRY_MAX_RETRIES": "0"}) as running:
        yield running
