"""The test servers in containers, as far as they can be checked without an engine.

The request goes through the installed testcontainers and through docker's own conversion; only the engine
is missing.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NoReturn

import docker
import pytest
from docker.models import containers as docker_containers
from docker.models.containers import ContainerCollection
from testcontainers.core import container as testcontainers_container
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

from deploy.embedded.ports import LOOPBACK
from tests.support.servers import containers

_API_VERSION = "1.44"


class ContainerRequested(Exception):
    """The engine was asked to create a container; `arguments` are what docker's client would send."""

    def __init__(self, arguments: dict[str, object]) -> None:
        super().__init__("container requested")
        self.arguments = arguments


class _Client(DockerClient):
    """A client that stops before it would call the engine."""

    def __init__(self) -> None:
        # With a given API version nothing is sent to the address before a request.
        self.client = docker.DockerClient(base_url="http://127.0.0.1:1", version=_API_VERSION)

    def create(self, image: str, command: object = None, **arguments: object) -> NoReturn:  # type: ignore[override]
        convert = docker_containers._create_container_args  # type: ignore[attr-defined]  # what `containers.create` calls
        assert convert.__name__ in ContainerCollection.create.__code__.co_names
        raise ContainerRequested(convert({"image": image, "command": command, "version": _API_VERSION, **arguments}))


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testcontainers_container, "DockerClient", _Client)
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    monkeypatch.setattr(containers, "_require_engine", lambda: None)


def requested_arguments(start: Callable[[], AbstractContextManager[object]]) -> dict[str, object]:
    with pytest.raises(ContainerRequested) as requested, start():
        pass
    return requested.value.arguments


def bindings(arguments: dict[str, object]) -> object:
    host = arguments["host_config"]
    assert isinstance(host, dict)
    return host["PortBindings"]


def test_postgres_is_requested_with_its_password_and_on_loopback_only() -> None:
    arguments = requested_arguments(containers.postgres_container)
    assert arguments["image"] == containers.POSTGRES_IMAGE
    environment = arguments["environment"]
    assert isinstance(environment, dict)
    assert set(environment) == {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}
    found = bindings(arguments)
    assert isinstance(found, dict)
    [binding] = found["5432/tcp"]
    assert binding["HostIp"] == LOOPBACK


def test_nats_is_requested_with_its_configuration_and_its_port() -> None:
    arguments = requested_arguments(lambda: containers.nats_container('listen: "127.0.0.1:-1"'))
    assert arguments["image"] == containers.NATS_IMAGE
    assert arguments["command"] == "-c /etc/keyferry/nats.conf -a 0.0.0.0 -p 4222"
    found = bindings(arguments)
    assert isinstance(found, dict)
    assert [binding["HostIp"] for binding in found["4222/tcp"]] == [LOOPBACK]
    host = arguments["host_config"]
    assert isinstance(host, dict)
    [mount] = host["Binds"]
    assert mount.endswith(":/etc/keyferry:ro")
