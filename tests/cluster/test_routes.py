"""TLS on the routes of a real cluster: only who has a certificate of the routes' own authority becomes a node of it."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nats as nats_client
import orjson
import pytest
from nats.errors import Error as NatsError

from deploy.certificates.authority import Authority, authority_file
from deploy.embedded.home import Home
from deploy.embedded.ports import LOOPBACK
from keyferry.contracts.topology import Role, inbox_prefix, users
from keyferry.runtime.tls.certificates import CertificateFiles
from tests.support.certificates import HOSTS, Certificates
from tests.support.cluster.nats_cluster import NAMES, RunningCluster, nats_cluster, route_files
from tests.support.cluster.tcp_links import tcp_links
from tests.support.waiting import until

_ELECTION_SECONDS = 60.0
_REFUSED = "signed by unknown authority"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    home = Home(tmp_path / "home")
    home.prepare()
    with tcp_links() as links, nats_cluster(home, {user: home.public_key(user) for user in users(1)}, links) as running:
        yield running


def is_node(cluster: RunningCluster, name: str) -> bool:
    """Return whether JetStream answers at one server, which takes a majority that it belongs to."""

    async def ask() -> bool:
        client = await nats_client.connect(
            cluster.url(name),
            nkeys_seed_str=cluster.seeds.seed_file(Role.PROVISIONER).read_text(),
            inbox_prefix=inbox_prefix(Role.PROVISIONER).encode(),
            allow_reconnect=False,
        )
        try:
            answer = await client.request("$JS.API.INFO", b"", timeout=1)
            return "error" not in orjson.loads(answer.data)
        except (NatsError, TimeoutError):
            return False
        finally:
            await client.close()

    return asyncio.run(ask())


def has_refused(cluster: RunningCluster, name: str) -> bool:
    """Return whether a server has said that it takes a certificate for none of a node."""
    return _REFUSED in cluster.logs[name].read_text()


def another_installation(cluster: RunningCluster, directory: Path) -> CertificateFiles:
    return Certificates(directory / "other").issue("n3-routes", *HOSTS, authority=Authority.ROUTES)


def authority_for_services(cluster: RunningCluster, directory: Path) -> CertificateFiles:
    return cluster.certificates.issue("service", *HOSTS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("foreign", [another_installation, authority_for_services])
def test_a_server_with_a_certificate_of_another_authority_is_no_node(
    cluster: RunningCluster, tmp_path: Path, foreign: Callable[[RunningCluster, Path], CertificateFiles]
) -> None:
    for name in NAMES:
        until(f"{name} is a node", partial(is_node, cluster, name), _ELECTION_SECONDS)
    assert not any(has_refused(cluster, name) for name in NAMES)
    own = route_files(cluster.certificates, "n3")
    before = CertificateFiles(tmp_path / "before.pem", tmp_path / "before.key")
    before.cert_file.write_bytes(own.cert_file.read_bytes())
    before.key_file.write_bytes(own.key_file.read_bytes())

    cluster.use_on_routes("n3", foreign(cluster, tmp_path))
    for name in ("n1", "n2"):
        until(f"{name} refuses it", partial(has_refused, cluster, name))
        until(f"{name} goes on", partial(is_node, cluster, name), _ELECTION_SECONDS)
    assert not is_node(cluster, "n3")

    cluster.use_on_routes("n3", before)
    until("n3 is a node again", lambda: is_node(cluster, "n3"), _ELECTION_SECONDS)


def test_a_route_needs_certificates_of_both_sides(cluster: RunningCluster) -> None:
    authority = authority_file(cluster.certificates.directory, Authority.ROUTES)
    (link, *_) = cluster.links.values()

    def greeting(context: ssl.SSLContext) -> bytes:
        with (
            socket.create_connection((LOOPBACK, link.port), 5) as plain,
            context.wrap_socket(plain, server_hostname=LOOPBACK) as route,
        ):
            return route.recv(5)

    with pytest.raises(ssl.SSLCertVerificationError):
        greeting(ssl.create_default_context(cafile=cluster.certificates.ca_file))
    without = ssl.create_default_context(cafile=authority)
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        greeting(without)
    own = route_files(cluster.certificates, "n1")
    without.load_cert_chain(own.cert_file, own.key_file)
    assert greeting(without) == b"INFO "
