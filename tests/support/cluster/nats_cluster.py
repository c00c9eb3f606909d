"""Three real NATS servers as a cluster on loopback, each of which a test may kill, freeze, or cut off from the others.

The routes between them have TLS with certificates of both sides, as in production.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from deploy.certificates.authority import Authority, authority_file
from deploy.embedded import nats
from deploy.embedded.home import Home
from deploy.embedded.ports import LOOPBACK
from deploy.nats.cluster import NatsCluster, TlsFiles
from deploy.nats.render import render_server_conf
from keyferry.contracts.topology import Role, inbox_prefix
from keyferry.runtime.bus.servers import connect, tls_options
from keyferry.runtime.tls.certificates import CertificateFiles
from keyferry.runtime.tls.context import ReloadingContext, client_context
from tests.support.certificates import HOSTS, Certificates
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
    certificates: Certificates
    logs: dict[str, Path]
    tls: ReloadingContext | None = None
    """How clients connect; None if they do without TLS."""

    @property
    def urls(self) -> str:
        """Every server, separated by commas."""
        return ",".join(self.url(name) for name in self.ports)

    def url(self, name: str) -> str:
        """Return where clients reach one server."""
        return f"{'nats' if self.tls is None else 'tls'}://{LOOPBACK}:{self.ports[name]}"

    def use_on_routes(self, name: str, files: CertificateFiles) -> None:
        """Start a server again with another certificate on its routes."""
        own = route_files(self.certificates, name)
        own.cert_file.write_bytes(files.cert_file.read_bytes())
        own.key_file.write_bytes(files.key_file.read_bytes())
        self.servers[name].stop()
        self.servers[name].restart()

    def isolate(self, name: str) -> None:
        """Cut a server off from the others. Its clients still reach it."""
        for ends, link in self.links.items():
            if name in ends:
                link.cut()

    def hold_up(self, name: str) -> None:
        """Let nothing pass from a server to the others, which it still hears."""
        for (one, other), link in self.links.items():
            if one == name:
                link.hold_there()
            elif other == name:
                link.hold_back()

    def rejoin(self, name: str) -> None:
        """End what `isolate` or `hold_up` did."""
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
            client = await connect(
                self.urls.split(","),
                **tls_options(self.tls),
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
        """Return the streams of which a replica is not current, with what the server says; one line if nobody knows."""

        async def find(client: Client) -> list[str]:
            found = [(name, await _replicas(client, name)) for name in streams]
            return [f"{name}: {replicas}" for name, replicas in found if not _are_current(replicas)]

        try:
            return self.run(find)
        except (NatsError, OSError, TimeoutError) as error:
            return [f"JetStream does not answer: {error!r}"]


async def _replicas(client: Client, stream: str) -> dict[str, Any]:
    """Return the leader of a stream and its followers, as a server knows them."""
    reply = await client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=1)
    cluster: dict[str, Any] = orjson.loads(reply.data).get("cluster", {})
    return cluster


def _are_current(replicas: dict[str, Any]) -> bool:
    return bool(replicas.get("leader")) and all(follower.get("current") for follower in replicas.get("replicas", []))


async def _ignore(_: Exception) -> None:
    """Take errors of a connection that is about to be tried again."""


def route_files(certificates: Certificates, name: str) -> CertificateFiles:
    """Return the files of a server's certificate for routes."""
    return CertificateFiles(*(certificates.directory / f"{name}-routes.{kind}" for kind in ("pem", "key")))


@contextmanager
def nats_cluster(
    home: Home, public_keys: dict[str, str], links: Links, *, client_tls: bool = False
) -> Iterator[RunningCluster]:
    """Run the cluster with these users. Returns once clients are accepted, a few seconds before there is a leader.

    With `client_tls` clients need TLS, too.
    """
    binary = nats.find_nats_server()
    certificates = Certificates(home.run / "certificates")
    ports = {name: find_free_port() for name in NAMES}
    routes = {name: find_free_port() for name in NAMES}
    between = {(one, other): links.to(routes[other]) for one, other in permutations(NAMES, 2)}
    logs = {name: home.log / f"{name}.log" for name in NAMES}
    tls = client_context(certificates.ca_file) if client_tls else None
    clients = certificates.server_files("clients") if client_tls else None
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
                tls=clients,
                cluster=NatsCluster("keyferry", LOOPBACK, routes[name], own, _issue_route_files(certificates, name)),
            )
            configuration.write_text(
                conf.replace("no_advertise: true", f'no_advertise: true\n  advertise: "{_NOBODY_LISTENS}"')
            )
            nats.check_configuration(binary, configuration)
            servers[name] = _start(stack, binary, configuration, logs[name], _probe(ports[name], tls))
        yield RunningCluster(servers, ports, home, between, certificates, logs, tls)


def _issue_route_files(certificates: Certificates, name: str) -> TlsFiles:
    files = certificates.issue(f"{name}-routes", *HOSTS, authority=Authority.ROUTES)
    return TlsFiles(files.cert_file, files.key_file, authority_file(certificates.directory, Authority.ROUTES))


def _start(stack: ExitStack, binary: Path, configuration: Path, log: Path, accepts: Callable[[], bool]) -> Server:
    child = ChildServer(lambda: nats.make_server_spec(binary, configuration), log, accepts)
    stack.enter_context(child.running())
    return Server(child)


def _probe(port: int, tls: ReloadingContext | None) -> Callable[[], bool]:
    """Return what says whether a server accepts clients on a port."""
    if tls is None:
        return lambda: nats.accepts_clients(port)

    def greets() -> bool:
        try:
            with (
                socket.create_connection((LOOPBACK, port), 1.0) as plain,
                tls.wrap_socket(plain, server_hostname=LOOPBACK) as client,
            ):
                return client.recv(5) == b"INFO "
        except OSError:
            return False

    return greets
