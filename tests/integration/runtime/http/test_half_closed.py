"""A client that ends its side of the connection after its request: it may wait for the answer, or be gone."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.runtime.http.test_attacks import GET, open_connections, status_of
from tests.support.servers.http_service import Application, HttpService, RawClient, http_service
from tests.support.waiting import eventually

POST = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"


@asynccontextmanager
async def connection(service: HttpService) -> AsyncIterator[RawClient]:
    client = await service.connect()
    try:
        yield client
    finally:
        client.close()


async def send_and_end(client: RawClient, data: bytes) -> None:
    """Send `data` and then the end of the client's side, as `nc -N` and shutdown(2) do."""
    client.writer.write(data)
    client.writer.write_eof()


@pytest.mark.parametrize(
    "sent", [GET, POST, GET + POST, b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"]
)
async def test_what_was_asked_is_answered_and_the_connection_closed(sent: bytes) -> None:
    async with http_service() as service, connection(service) as client:
        await send_and_end(client, sent)
        answer = await client.read_to_end()
        assert answer.count(b"HTTP/1.1 200") == sent.count(b"HTTP/1.1")
        assert answer.count(b"connection: close") <= 1
        await open_connections(service, 0)
        assert service.app.bodies == [sent.rpartition(b"\r\n\r\n")[2]] * sent.count(b"POST")


async def test_an_answer_that_takes_its_time_arrives_too() -> None:
    async with http_service() as service, connection(service) as client:
        await send_and_end(client, b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually("it is seen", lambda: service.app.started == ["/busy"])
        service.app.release.set()
        answer = await client.read_to_end()
        assert status_of(answer) == 200
        assert b"connection: close" in answer


async def test_a_long_answer_arrives_whole() -> None:
    app = Application(stream_bytes=5_000_000)
    async with http_service(app=app) as service, connection(service) as client:
        await send_and_end(client, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.read_to_end()
        assert answer.endswith(b"\r\n0\r\n\r\n")
        assert len(answer) > app.stream_bytes


async def test_an_application_that_watches_its_client_sees_that_it_left(caplog: pytest.LogCaptureFixture) -> None:
    """A client that closed its connection looks the same until something is sent to it."""
    async with http_service() as service, connection(service) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually("it is seen", lambda: service.app.started == ["/wait"])
        client.writer.write_eof()
        assert await client.read_to_end() == b""
        assert service.app.disconnects == 1
        await open_connections(service, 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("part", [b"", GET[:-2], POST[:-1], GET + GET[:-2]])
async def test_part_of_a_request_is_the_end_of_the_connection(part: bytes) -> None:
    async with http_service() as service, connection(service) as client:
        await send_and_end(client, part)
        assert (await client.read_to_end()).count(b"HTTP/1.1 200") == part.count(GET)
        await open_connections(service, 0)
        assert service.app.bodies == []
