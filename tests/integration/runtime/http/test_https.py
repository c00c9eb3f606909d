"""The HTTP server with TLS: the same limits, before the handshake as well, and certificates that are replaced."""

import asyncio
import ssl
from pathlib import Path

import pytest

from keyferry.runtime.tls import acceptor
from keyferry.runtime.tls.context import ReloadingContext, client_context, server_context
from tests.integration.runtime.http.test_attacks import GET, open_connections, status_of
from tests.support.certificates import HOSTS, Certificates
from tests.support.servers.http_service import Application, HttpService, http_service
from tests.support.waiting import eventually


class Tls:
    """Both sides' contexts."""

    def __init__(self, directory: Path) -> None:
        self.certificates = Certificates(directory)
        self.server = server_context(self.certificates.issue("server", *HOSTS))
        self.client: ReloadingContext = client_context(self.certificates.ca_file)


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


async def serial(service: HttpService, tls: Tls) -> str:
    """Return the number of the certificate that a new connection gets, after one request."""
    client = await service.connect(tls.client)
    await client.send(GET)
    assert status_of(await client.read_answer()) == 200
    found = client.writer.get_extra_info("peercert")["serialNumber"]
    client.close()
    return str(found)


async def test_a_replaced_certificate_is_used_while_open_connections_stay(tls: Tls) -> None:
    async with http_service(tls=tls.server) as service:
        before = await serial(service, tls)
        kept = await service.connect(tls.client)
        await kept.send(GET)
        assert status_of(await kept.read_answer()) == 200
        tls.certificates.renew_authorities()
        tls.certificates.issue("server", *HOSTS)
        assert await serial(service, tls) != before
        await kept.send(GET)
        assert status_of(await kept.read_answer()) == 200
        kept.close()
        await open_connections(service, 0)


async def test_long_answers_and_whole_bodies_pass(tls: Tls) -> None:
    app = Application(stream_bytes=5_000_000)
    async with http_service(app=app, tls=tls.server) as service:
        answer = await service.exchange(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", tls=tls.client)
        assert answer.endswith(b"\r\n0\r\n\r\n")
        assert len(answer) > app.stream_bytes
        body = b"x" * 900
        head = b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert status_of(await service.exchange(head + body[:9], body[9:], tls=tls.client)) == 200
        assert app.bodies == [body]


async def test_a_client_that_still_sends_gets_its_refusal(tls: Tls) -> None:
    async with http_service(tls=tls.server) as service:
        head = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        assert status_of(await service.exchange(head, b"x" * 4_000_000, tls=tls.client)) == 200


async def test_a_client_that_ends_its_side_is_gone(tls: Tls) -> None:
    async with http_service(tls=tls.server) as service:
        client = await service.connect(tls.client)
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually("it is seen", lambda: service.app.started == ["/wait"])
        client.writer.close()
        await eventually("the application is notified", lambda: service.app.disconnects == 1)
        await open_connections(service, 0)


async def test_an_answer_that_nobody_reads_ends_its_connection(tls: Tls) -> None:
    app = Application(stream_bytes=50_000_000)
    async with http_service(app=app, tls=tls.server, write_timeout_seconds=0.5) as service:
        client = await service.connect(tls.client)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await open_connections(service, 1)
        await open_connections(service, 0)
        assert service.server.count.ended["answer_not_read"] == 1
        client.close()


async def test_connections_without_a_handshake_are_counted_and_ended(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_service(tls=tls.server, connections_per_address=3) as service:
        silent = [await service.connect() for _ in range(3)]
        await open_connections(service, 3)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await service.connect(tls.client)
        silent.pop().close()
        await open_connections(service, 2)
        assert await serial(service, tls)
        for client in silent:
            client.close()
        await open_connections(service, 0)
        monkeypatch.setattr(acceptor, "HANDSHAKE_SECONDS", 0.2)
        client = await service.connect()
        assert await client.read_to_end() == b""
        client.close()
        await open_connections(service, 0)


async def test_what_is_no_tls_is_closed_and_others_are_served(tls: Tls) -> None:
    async with http_service(tls=tls.server) as service:
        for data in (GET, b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"\x00" * 50, b"\xff" * 100_000):
            assert b"HTTP" not in await service.exchange(data)
        await open_connections(service, 0)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(tls.certificates.ca_file)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            await service.connect(old)
        assert await serial(service, tls)


async def test_a_drain_waits_for_answers_and_not_for_handshakes(tls: Tls) -> None:
    async with http_service(tls=tls.server) as service:
        silent, client = await service.connect(), await service.connect(tls.client)
        await client.send(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually("it is seen", lambda: service.app.started == ["/busy"])
        draining = asyncio.ensure_future(service.server.drain())
        assert await silent.read_to_end() == b""
        service.app.release.set()
        assert status_of(await client.read_answer()) == 200
        await draining
        client.close()
        silent.close()
