"""Ports for the servers of a test run: each is given once, and each worker process of the run has its own."""

import functools
import os
import random
from collections.abc import Iterator, Mapping

from deploy.embedded.home import Home
from deploy.embedded.operations_ports import list_processes, port_file
from deploy.embedded.ports import is_free, server_ports
from deploy.embedded.services import process_name

_PORT_FILES = ("nats.port", "postgres.port", "console.port")


def own_ports(environment: Mapping[str, str]) -> range:
    """Return the ports that only this worker process, and what it starts, may choose from; all in a run without workers.

    xdist gives a worker that replaces a crashed one the next number.
    """
    count = int(environment.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(environment.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return server_ports()[number % count :: count]


def find_free_port() -> int:
    """Return a loopback port on which nothing listens, and which no other test of this run is given."""
    return next(port for port in _shuffled() if is_free(port))


def store_ports(home: Home) -> None:
    """Choose the ports of a system that is to be started in `home`, as the launcher would."""
    home.prepare()
    operations = [port_file(home, process_name(row, slot)) for row, slot in list_processes()]
    for file in [*(home.run / name for name in _PORT_FILES), *operations]:
        if not file.exists():
            file.write_text(f"{find_free_port()}\n")


@functools.cache
def _shuffled() -> Iterator[int]:
    """Return an iterator over this process's ports, shuffled, as another run may be using the same ones."""
    ports = own_ports(os.environ)
    return iter(random.SystemRandom().sample(ports, k=len(ports)))
