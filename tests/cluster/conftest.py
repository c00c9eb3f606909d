"""A cluster for the tests of this package; it ends with the last of them."""

from collections.abc import Iterator

import pytest

from tests.support.cluster.system import ClusterSystem, running_cluster


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSystem]:
    directory = tmp_path_factory.mktemp("cluster")
    for path in (directory, directory.parent):
        path.chmod(0o711)  # PostgreSQL may run as another user
    with running_cluster(directory) as running:
        yield running
