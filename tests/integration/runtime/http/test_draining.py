"""A server that drains loses no request of a client that was connected, however far its connection had come."""

import asyncio
import socket
import threading
import time
from collections import Counter
from pathlib import Path

from deploy.embedded.ports import LOOPBACK
from keyferry.runtime.http.server import HttpServer
from keyferry.runtime.tls.context import client_context, server_context
from tests.integration.runtime.http.test_attacks import GET, status_of
from tests.support.certificates import HOSTS, Certificates
from tests.support.servers.http_service import PATIENT, Application, RawClient, http_service
from tests.support.waiting import TIMEOUT_SECONDS, eventually

ONLY_REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SUCCESSORS = 20
CLIENTS = 4
BUSY_SECONDS = 0.005


async def refused(port: int) -> None:
    """Wait until nothing listens on the port."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
            except ConnectionRefusedError:
                return
            writer.close()
            await writer.wait_closed()


async def test_a_connection_without_a_request_yet_is_served_before_it_is_closed() -> None:
    async with http_service() as service:
        client = await service.connect()
        draining = asyncio.ensure_future(service.server.drain())
        await refused(service.port)
        await client.send(GET)
        answer = await client.read_to_end()
        assert status_of(answer) == 200
        assert b"\r\nconnection: close\r\n" in answer
        client.close()
        await draining


async def test_a_connection_that_has_been_answered_is_closed_at_once() -> None:
    async with http_service() as service:
        client = await service.connect()
        await client.send(GET)
        await client.read_answer()
        draining = asyncio.ensure_future(service.server.drain())
        assert await client.read_to_end() == b""
        client.close()
        await draining


async def test_a_tls_handshake_under_way_is_finished_and_its_request_answered(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    server = server_context(certificates.issue("server", *HOSTS))
    async with http_service(tls=server) as service:
        connection = socket.create_connection((LOOPBACK, service.port))
        connection.setblocking(False)
        await eventually("the connection is accepted", lambda: service.server.count.open == 1)
        draining = asyncio.ensure_future(service.server.drain())
        await refused(service.port)
        trusted = client_context(certificates.ca_file)
        reader, writer = await asyncio.open_connection(sock=connection, ssl=trusted, server_hostname=LOOPBACK)
        client = RawClient(reader, writer)
        await client.send(GET)
        assert status_of(await client.read_to_end()) == 200
        client.close()
        await draining


def ask_until(stop: threading.Event, port: int, outcomes: Counter[str]) -> None:
    """Ask on one connection after the other, each with one request."""
    while not stop.is_set():
        try:
            with socket.create_connection((LOOPBACK, port), TIMEOUT_SECONDS) as client:
                client.sendall(ONLY_REQUEST)
                received = b""
                while part := client.recv(65536):
                    received += part
            outcomes["answered" if received.startswith(b"HTTP/1.1 200 ") else "lost"] += 1
        except ConnectionError as error:
            outcomes[type(error).__name__] += 1


async def test_no_connection_is_lost_between_a_server_and_its_successors() -> None:
    """Where the process is busy, connections wait to be accepted; those that wait when it stops listening are its own."""
    loop, stop, outcomes = asyncio.get_running_loop(), threading.Event(), Counter[str]()

    def be_busy() -> None:
        time.sleep(BUSY_SECONDS)
        if not stop.is_set():
            loop.call_later(BUSY_SECONDS, be_busy)

    async with http_service() as service:
        server = service.server
        asking = [asyncio.to_thread(ask_until, stop, service.port, outcomes) for _ in range(CLIENTS)]
        clients = asyncio.gather(*asking)
        be_busy()
        try:
            for _ in range(SUCCESSORS):
                successor = HttpServer(Application(), LOOPBACK, service.port, drain_seconds=1, limits=PATIENT)
                await successor.start()
                await server.drain()
                server = successor
        finally:
            stop.set()
            await clients
            await server.drain()
    assert set(outcomes) == {"answered"}, outcomes
