"""A real NATS server for tests; it can be killed and frozen."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.embedded import nats
from deploy.embedded.ports import LOOPBACK
from tests.support.servers.ports import find_free_port
from tests.support.servers.server import ChildServer, Runner, Server, wants_containers, working_dir

NATS_LIMITS = """
max_payload: 8MB
max_pending: 64MB
write_deadline: "5s"
no_fast_producer_stall: true
"""
"""What the deployed server is set to, for tests that need no permissions."""


_MEMORY_DISK = "/dev/shm"
_NEEDED_BYTES = 2 * 1024**3
"""Ten times what the servers of a run were seen to store at once."""


def parent_of_stores() -> str | None:
    """Return where the stores of servers belong: in memory where there is plenty, else None for the usual place.

    A server syncs each message. On a disk that takes a millisecond, but seconds while another test's database is written or
    removed.
    """
    has_space = os.access(_MEMORY_DISK, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY_DISK).free >= _NEEDED_BYTES
    return _MEMORY_DISK if has_space else None


class NatsServer(Server):
    """A NATS server with JetStream."""

    def __init__(self, runner: Runner, url: str) -> None:
        super().__init__(runner)
        self.url = url

    def __str__(self) -> str:
        return self.url


@contextmanager
def nats_server(conf: str = "", *, whole: bool = False) -> Iterator[NatsServer]:
    """Run NATS on a free port. `conf` is added to the usual limits, or is the whole file when `whole` is set."""
    if wants_containers():
        from tests.support.servers import containers

        usual = "" if whole else f"{NATS_LIMITS}\n{_jetstream(Path('/data'))}"
        with containers.nats_container(f"{usual}\n{conf}\n") as (runner, url):
            yield NatsServer(runner, url)
        return
    with working_dir("keyferry-nats-", parent_of_stores()) as home:
        usual = "" if whole else f"{NATS_LIMITS}\n{_jetstream(home / 'jetstream')}"
        configuration = home / "nats.conf"
        configuration.write_text(f"{usual}\n{conf}\n")
        port, binary = find_free_port(), nats.find_nats_server()
        nats.check_configuration(binary, configuration)
        child = ChildServer(
            lambda: nats.make_server_spec(binary, configuration, port=port),
            home / "server.log",
            lambda: nats.accepts_clients(port),
        )
        with child.running():
            yield NatsServer(child, f"nats://{LOOPBACK}:{port}")


def _jetstream(store_dir: Path) -> str:
    return f'jetstream {{ store_dir: "{store_dir}", sync_interval: always, max_memory_store: 256MB, max_file_store: 32GB }}'
