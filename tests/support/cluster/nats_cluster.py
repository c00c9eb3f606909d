"""Three real NATS servers as a cluster on loopback, each of which a test may kill, freeze, or cut off from the others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import nats as nats_client
import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.embedded import nats
from deploy.embedded.home import Home
from deploy.embedded.ports import LOOPBACK
from deploy.nats.cluster import NatsCluster
from deploy.nats.render import render_server_conf
from keyferry.contracts.topology import Role, inbox_prefix
from tests.support.cluster.tcp_links import Link, Links
from tests.support.servers.nats import parent_of_stores
from tests.support.servers.ports import find_free_port
from tests.support.servers.server import ChildServer, Server, working_dir

NAMES = ("n1", "n2", "n3")
_NOBODY_LISTENS = f"{LOOPBACK}:1"
"""The address that a server gives to the others, which use their links alone because of it."""

T = TypeVar("T")


@dataclass(frozen=True)
class RunningCluster:
    """The running servers by name. `seeds` has the provisioner's."""

    servers: dict[str, Server]
    ports: dict[str, int]
    seeds: Home
    links: dict[tuple[str, str], Link]
    """The link from one server to another one's cluster port. Either side may be the one that connects."""

    @property
    def urls(self) -> str:
        """Every server, separated by commas."""
        return ",".join(f"nats://{LOOPBACK}:{port}" for port in self.ports.values())

    def isolate(self, name: str) -> None:
        """Cut a server off from the others. Its clients still reach it."""
        for ends, link in self.links.items():
            if name in ends:
                link.cut()

    def rejoin(self, name: str) -> None:
        """End what `isolate` did."""
        for ends, link in self.links.items():
            if name in ends:
                link.heal()

    def ask(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream, by whichever server answers. Raises NatsError where none does within a second."""

        async def ask(client: Client) -> dict[str, Any]:
            reply = await client.request(f"$JS.API.{verb}", orjson.dumps(body or {}), timeout=1)
            answer: dict[str, Any] = orjson.loads(reply.data)
            return answer

        return self.run(ask)

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Run `work` with a connection as the provisioner."""

        async def connected() -> T:
            client = await nats_client.connect(
                self.urls.split(","),
                nkeys_seed_str=self.seeds.seed_file(Role.PROVISIONER).read_text(),
                inbox_prefix=inbox_prefix(Role.PROVISIONER).encode(),
                connect_timeout=1,
                max_reconnect_attempts=3,
                reconnect_time_wait=0.1,
                error_cb=_ignore,
            )
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(connected())

    def leader_of(self, stream: str) -> str | None:
        """Return the server that leads a stream now; None if there is none, or if nobody knows."""
        try:
            leader = self.ask(f"STREAM.INFO.{stream}").get("cluster", {}).get("leader")
        except (NatsError, OSError, TimeoutError):
            return None
        return str(leader) if leader else None

    def lagging(self, streams: Sequence[str]) -> list[str]:
        """Return the streams of which a replica is not current; all of them if nobody knows."""

        async def find(client: Client) -> list[str]:
            return [name for name in streams if not await _is_current(client, name)]

        try:
            return self.run(find)
        except (NatsError, OSError, TimeoutError):
            return list(streams)


async def _is_current(client: Client, stream: str) -> bool:
    reply = await client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=1)
    cluster = orjson.loads(reply.data).get("cluster", {})
    return bool(cluster.get("leader")) and all(replica.get("current") for replica in cluster.get("replicas", []))


async def _ignore(_: Exception) -> None:
    """Take errors of a connection that is about to be tried again."""


@contextmanager
def nats_cluster(home: Home, public_keys: dict[str, str], links: Links) -> Iterator[RunningCluster]:
    """Run the cluster with these users. Returns once clients are accepted, a few seconds before there is a leader."""
    binary = nats.find_nats_server()
    ports = {name: find_free_port() for name in NAMES}
    routes = {name: find_free_port() for name in NAMES}
    between = {(one, other): links.to(routes[other]) for one, other in permutations(NAMES, 2)}
    with ExitStack() as stack:
        store = stack.enter_context(working_dir("keyferry-cluster-", parent_of_stores()))
        servers: dict[str, Server] = {}
        for name in NAMES:
            configuration = home.run / f"{name}.conf"
            own = [f"{LOOPBACK}:{link.port}" for (one, _), link in between.items() if one == name]
            conf = render_server_conf(
                public_keys,
                name=name,
                port=ports[name],
                store_dir=store / name,
                cluster=NatsCluster("keyferry", LOOPBACK, routes[name], own),
            )
            configuration.write_text(
                conf.replace("no_advertise: true", f'no_advertise: true\n  advertise: "{_NOBODY_LISTENS}"')
            )
            nats.check_configuration(binary, configuration)
            servers[name] = _start(stack, binary, configuration, ports[name], home.log / f"{name}.log")
        yield RunningCluster(servers, ports, home, between)


def _start(stack: ExitStack, binary: Path, configuration: Path, port: int, log: Path) -> Server:
    child = ChildServer(lambda: nats.make_server_spec(binary, configuration), log, lambda: nats.accepts_clients(port))
    stack.enter_context(child.running())
    return Server(child)
