"""HTTP/1.0, which some proxies and `ab` speak: it has no chunks, no `100 Continue` and no connection that is kept."""

import pytest

from tests.integration.runtime.http.test_attacks import error_of, status_of
from tests.support.servers.http_service import CHUNK, Application, http_service


@pytest.mark.parametrize("stream_bytes", [0, 3 * len(CHUNK)])
async def test_a_stream_has_no_chunks_and_ends_with_its_connection(stream_bytes: int) -> None:
    async with http_service(app=Application(stream_bytes=stream_bytes)) as service:
        head, _, body = (await service.exchange(b"GET /stream HTTP/1.0\r\n\r\n")).partition(b"\r\n\r\n")
        assert status_of(head) == 200
        assert b"transfer-encoding" not in head.lower()
        assert body == b"x" * stream_bytes


async def test_an_answer_of_known_length_says_so() -> None:
    async with http_service() as service:
        head, _, body = (await service.exchange(b"GET / HTTP/1.0\r\n\r\n")).partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head
        assert b"connection: close" in head
        assert body == b'{"path":"/"}'
        head, _, body = (await service.exchange(b"HEAD / HTTP/1.0\r\n\r\n")).partition(b"\r\n\r\n")
        assert (status_of(head), body) == (200, b"")


async def test_a_chunked_request_is_refused() -> None:
    """A proxy that reads it as HTTP/1.0 takes the chunks for the next request."""
    async with http_service() as service:
        chunks = b"3\r\nabc\r\n0\r\n\r\n"
        answer = await service.exchange(b"POST /body HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert status_of(answer) == 501
        assert "in HTTP/1.1" in str(error_of(answer)["message"])
        assert service.app.started == []


async def test_no_interim_answer_is_sent() -> None:
    """RFC 9110, section 10.1.1: the expectation of an HTTP/1.0 request is ignored."""
    async with http_service() as service:
        head = b"POST /body HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        assert status_of(await service.exchange(head + b"abc")) == 200
        assert service.app.bodies == [b"abc"]
