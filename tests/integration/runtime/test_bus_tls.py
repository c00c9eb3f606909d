"""TLS to NATS: both sides prove who they are, nothing is sent in plain text, and certificates change under way."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from deploy.embedded.nats import find_nats_server, make_server_spec
from deploy.nats.cluster import TlsFiles
from deploy.nats.render import render_server_conf
from keyferry.cli.connection import operator
from keyferry.cli.installation import Installation
from keyferry.cli.problem import Problem
from keyferry.client import connect
from keyferry.client.errors import CannotConnect
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings
from keyferry.runtime.tls.certificates import CertificateFiles
from tests.support.certificates import Certificates
from tests.support.servers.ports import find_free_port
from tests.support.servers.provisioned_bus import make_users
from tests.support.servers.server import ChildServer
from tests.support.waiting import eventually

CLIENT = "internal-client.acme.main"


class TlsBus:
    """A NATS server with TLS on loopback, with the deployed users and without streams."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificates = Certificates(directory / "ca")
        self.users = make_users(directory, 1, [CLIENT])
        self.port = find_free_port()
        self.url = f"tls://127.0.0.1:{self.port}"
        self.conf = directory / "nats.conf"
        self.server: ChildServer

    def render(self, tls: TlsFiles | None) -> None:
        """Write the configuration."""
        store = self.directory / "jetstream"
        self.conf.write_text(render_server_conf(self.users, port=self.port, store_dir=store, tls=tls))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server; it is ready once it accepts connections, as it says nothing before a handshake."""
        log = self.directory / "server.log"
        self.server = ChildServer(
            lambda: make_server_spec(find_nats_server(), self.conf),
            log,
            lambda: log.exists() and "Server is ready" in log.read_text(),
        )
        with self.server.running():
            yield

    def reload(self) -> None:
        """Have the server read its configuration and certificates again."""
        self.server._signal(signal.SIGHUP)

    def settings(self, own: CertificateFiles | None = None, **changes: object) -> ServiceSettings:
        """Return a router's settings."""
        values = {
            "nats_url": self.url,
            "nats_nkey_file": self.directory / "router.seed",
            "nats_ca_file": self.certificates.ca_file,
            "nats_cert_file": own and own.cert_file,
            "nats_key_file": own and own.key_file,
        }
        return ServiceSettings.model_validate(values | changes)


@pytest.fixture
def bus(tmp_path: Path) -> TlsBus:
    return TlsBus(tmp_path)


@asynccontextmanager
async def connected(settings: ServiceSettings) -> AsyncIterator[Bus]:
    connection = Bus(Role.ROUTER, settings)
    async with asyncio.timeout(30):
        await connection.connect()
    try:
        yield connection
    finally:
        await connection.broker.stop()


async def obstacle(settings: ServiceSettings) -> str:
    """Return why a service cannot connect, once it knows."""
    connection = Bus(Role.ROUTER, settings)
    connecting = asyncio.create_task(connection.connect())
    try:
        return str(await eventually("the reason is known", lambda: connection.obstacle))
    finally:
        connecting.cancel()
        await asyncio.wait({connecting})


async def test_services_commands_and_clients_use_tls_with_certificates_of_both_sides(
    bus: TlsBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.render(bus.certificates.server_files(mutual=True))
    own = bus.certificates.issue("service")
    monkeypatch.setenv("KEYFERRY_NATS_CA_FILE", str(bus.certificates.ca_file))
    with bus.running():
        async with connected(bus.settings(own)) as service:
            assert service.client._transport._io_writer.get_extra_info("ssl_object").version() == "TLSv1.3"  # type: ignore[union-attr]
            assert service.tls is not None
            assert service.tls.problems() == []
        assert "handshake" in await obstacle(bus.settings())
        with pytest.raises(Problem, match="cannot be used"):
            async with operator(Installation(bus.url, bus.directory / "operator.seed")):
                pass
        monkeypatch.setenv("KEYFERRY_NATS_CERT_FILE", str(own.cert_file))
        monkeypatch.setenv("KEYFERRY_NATS_KEY_FILE", str(own.key_file))
        async with operator(Installation(bus.url, bus.directory / "operator.seed")) as me:
            assert me.client.is_connected


async def test_a_client_names_the_authorities_and_is_refused_without(bus: TlsBus) -> None:
    bus.render(bus.certificates.server_files())
    seed = bus.directory / f"{CLIENT}.seed"
    with bus.running():
        with pytest.raises(CannotConnect, match="does not answer"):
            async with connect(bus.url, tenant="acme", nkey_file=seed, connect_timeout_seconds=1):
                pass
        # The inbox cannot be checked on a bus without a provisioned worker, which comes after the handshake.
        async with connect(bus.url, tenant="acme", nkey_file=seed, ca_file=bus.certificates.ca_file):
            pass


async def test_a_server_without_tls_gets_nothing_from_a_service_that_wants_it(bus: TlsBus) -> None:
    """Who sits between the two could answer as a server without TLS."""
    received = bytearray()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"nonce":"abc"}\r\n')
        received.extend(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert "handshake" in await obstacle(bus.settings(nats_url=f"tls://127.0.0.1:{port}"))
    assert received
    assert b"CONNECT" not in received
    assert b"sig" not in received


async def test_another_authority_is_reported_and_a_new_one_is_used_without_a_restart(
    bus: TlsBus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bus.render(bus.certificates.server_files())
    with bus.running():
        async with connected(bus.settings()) as service:
            stale = bus.directory / "stale.pem"
            stale.write_bytes(bus.certificates.ca_file.read_bytes())
            bus.certificates.renew_authorities()
            bus.certificates.server_files()
            bus.reload()
            await service.client.force_reconnect()
            await eventually("it is connected with the new authority", lambda: service.client.stats["reconnects"] > 0)
            assert service.connected
            assert service.obstacle is None
        assert "certificate is not accepted" in await obstacle(bus.settings(nats_ca_file=stale))
        assert "KEYFERRY_NATS_CA_FILE" in caplog.text


async def test_a_service_that_waits_with_a_wrong_authority_goes_on_once_the_file_is_replaced(bus: TlsBus) -> None:
    bus.render(bus.certificates.server_files())
    ca_file = bus.directory / "mine.pem"
    ca_file.write_bytes(Certificates(bus.directory / "other").ca_file.read_bytes())
    with bus.running():
        connection = Bus(Role.ROUTER, bus.settings(nats_ca_file=ca_file))
        connecting = asyncio.create_task(connection.connect())
        await eventually("the reason is known", lambda: connection.obstacle)
        ca_file.write_bytes(bus.certificates.ca_file.read_bytes())
        async with asyncio.timeout(30):
            await connecting
        assert connection.connected
        await connection.broker.stop()
