"""One engine, its images and one installation for all tests of this package."""

from collections.abc import Iterator

import pytest

from tests.containers.engine import Engine, NoEngine, container_engine
from tests.containers.images import Images, build_images
from tests.containers.project import ComposeProject
from tests.containers.provider import BASE_URL, RemoteUpstream
from tests.support.clients.stream_clients import StreamClients, stream_clients
from tests.support.waiting import until


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    try:
        with container_engine() as found:
            yield found
    except NoEngine as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def images(engine: Engine) -> Images:
    return build_images(engine)


@pytest.fixture(scope="session")
def project(engine: Engine, images: Images) -> Iterator[ComposeProject]:
    """The whole system, as `docker compose up --build --detach` leaves it. At the end everything is removed."""
    project = ComposeProject(engine, images)
    try:
        project.up()
        yield project
    finally:
        project.down()


@pytest.fixture(scope="session")
def provider(project: ComposeProject) -> RemoteUpstream:
    """The scripted provider, which the demo tenant has as the endpoint `scripted`."""
    project.cli(
        "endpoints", "add", "scripted", "--tenant", "demo", "--base-url", BASE_URL, "--no-probe", "--model", "m"
    )
    return RemoteUpstream(project.provider_port)


@pytest.fixture(scope="session")
def clients(project: ComposeProject) -> Iterator[StreamClients]:
    until("the system is ready", project.is_ready, 60)
    with stream_clients(project.http_url, project.token()) as running:
        yield running
