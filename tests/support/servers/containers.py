"""The same servers from the official images, where a container engine answers. Imported only when requested."""

import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

from deploy.embedded import nats, postgres
from deploy.embedded.ports import LOOPBACK
from keyferry.contracts.secret import Secret
from tests.support.servers.ports import find_free_port
from tests.support.waiting import until

POSTGRES_IMAGE = "postgres:18"
NATS_IMAGE = "nats:2.15"
"""Others are named by KEYFERRY_TEST_POSTGRES_IMAGE and KEYFERRY_TEST_NATS_IMAGE."""
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_PING_SECONDS = 2.0
_USER = "postgres"


class NoContainerEngine(Exception):
    """Containers were asked for and no engine answers."""


class _Container:
    """A container as a server that a test may disrupt."""

    def __init__(self, container: DockerContainer, ready: Callable[[], bool]) -> None:
        self._container = container.get_wrapped_container()
        self._ready = ready

    def kill(self) -> None:
        self._container.kill()
        self._container.wait()

    def pause(self) -> None:
        self._container.pause()

    def resume(self) -> None:
        self._container.unpause()

    def restart(self) -> None:
        self._container.start()
        until("the container accepts clients", self._ready)

    def stop(self) -> None:
        self._container.stop()


@contextmanager
def postgres_container() -> Iterator[tuple[_Container, int, str, Secret]]:
    """Run PostgreSQL. Yield its runner, port, superuser and password. Raises NoContainerEngine."""
    _require_engine()
    password, port = Secret(secrets.token_urlsafe(24)), find_free_port()
    probe = postgres.driver_url(postgres.url(port, _USER, password, "postgres"))
    container = PostgresContainer(
        os.environ.get("KEYFERRY_TEST_POSTGRES_IMAGE", POSTGRES_IMAGE),
        username=_USER,
        password=password.reveal(),
        dbname="postgres",
    )
    _bind(container, "5432", port)
    with container:
        runner = _Container(container, lambda: _accepts(probe))
        until("the container accepts clients", lambda: _accepts(probe))
        yield runner, port, _USER, password


@contextmanager
def nats_container(conf: str) -> Iterator[tuple[_Container, str]]:
    """Run NATS with this configuration. Yield its runner and URL. Raises NoContainerEngine."""
    _require_engine()
    port = find_free_port()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        Path(name, "nats.conf").write_text(conf)
        # The package's own class for NATS warns of what it uses itself, which fails a test.
        container = DockerContainer(os.environ.get("KEYFERRY_TEST_NATS_IMAGE", NATS_IMAGE))
        _bind(container, "4222", port)
        # The configuration names the loopback of this machine; inside, that would be the container's own.
        container.with_volume_mapping(name, "/etc/keyferry").with_command(
            "-c /etc/keyferry/nats.conf -a 0.0.0.0 -p 4222"
        )
        with container:
            runner = _Container(container, lambda: nats.accepts_clients(port))
            until("the container accepts clients", lambda: nats.accepts_clients(port))
            yield runner, f"nats://127.0.0.1:{port}"


def _bind(container: DockerContainer, inside: str, port: int) -> None:
    """Publish a container's port on loopback only; `with_bind_ports` would publish it to everyone."""
    container.ports[inside] = (LOOPBACK, port)  # type: ignore[assignment]  # narrower than what the engine's client takes


def _require_engine() -> None:
    url = os.environ.get("DOCKER_HOST", _DEFAULT_ENGINE)
    if reason := describe_missing_engine(url):
        raise NoContainerEngine(
            f"TEST_BACKEND=containers, but no container engine answers at {url}: {reason}. "
            "Start one, or unset the variable to use the embedded servers"
        )


def describe_missing_engine(url: str) -> str:
    """Return why no engine answers there; empty if one does.

    It is asked itself: a `docker` program on PATH does not prove that an engine runs, and the package's client leaves the socket
    of a refused connection open.
    """
    address = urlsplit(url)
    local = address.scheme == "unix"
    where: str | tuple[str, int] = address.path if local else (address.hostname or "", address.port or 2375)
    try:
        with socket.socket(socket.AF_UNIX if local else socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(_PING_SECONDS)
            client.connect(where)
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            with client.makefile("rb") as answer:
                return "" if b" 200 " in answer.readline() else "it does not answer as an engine does"
    except OSError as error:
        return str(error.strerror or error)


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
