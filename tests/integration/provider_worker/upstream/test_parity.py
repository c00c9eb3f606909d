"""httpx's own transport is the reference: the same event must be the same error through ours."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from deploy.embedded.ports import LOOPBACK, find_free_port
from services.provider_worker.upstream.addresses import AddressPolicy
from services.provider_worker.upstream.transport import AiohttpTransport
from tests.support.upstream_double import Behaviour, Call, answers, hangs, reply, self_signed, upstream_double

SHORT_SECONDS = 0.2
BIG_BODY = b"x" * 32 * 1024 * 1024

Transports = dict[str, Callable[[], httpx.AsyncBaseTransport]]
TRANSPORTS: Transports = {
    "native": lambda: httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_connections=1)),
    "ours": lambda: AiohttpTransport(AddressPolicy((ip_network("127.0.0.0/8"),)), max_connections=1),
}


@pytest.fixture(params=sorted(TRANSPORTS))
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncBaseTransport]:
    async with TRANSPORTS[request.param]() as opened:
        yield opened


async def post(
    transport: httpx.AsyncBaseTransport,
    url: str,
    *,
    short: str = "",
    content: bytes = b"{}",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """A whole exchange; `short` names the one phase with a timeout, so that no other can stand in for it."""
    timeout: dict[str, float | None] = dict.fromkeys(("connect", "read", "write", "pool"))
    if short:
        timeout[short] = SHORT_SECONDS
    request = httpx.Request("POST", url, content=content, headers=headers, extensions={"timeout": timeout})
    response = await transport.handle_async_request(request)
    try:
        await response.aread()
    finally:
        await response.aclose()
    return response


async def resets(call: Call) -> None:
    call.reset()


async def resets_in_body(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
    call.reset()


async def pauses_in_body(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
    await call.gone()


@pytest.mark.parametrize(
    ("behave", "short", "expected"),
    [
        pytest.param(answers(close=True), "", httpx.RemoteProtocolError, id="closed after reading the request"),
        pytest.param(answers(b"HTTP/1.1 200", close=True), "", httpx.RemoteProtocolError, id="closed within the head"),
        pytest.param(answers(b"SSH-2.0-OpenSSH\r\n\r\n", close=True), "", httpx.RemoteProtocolError, id="not HTTP"),
        pytest.param(
            answers(b"HTTP/1.1 200 OK\r\na: " + b"a" * 200_000 + b"\r\n\r\n"),
            "",
            httpx.RemoteProtocolError,
            id="an endless header",
        ),
        pytest.param(
            answers(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome", close=True),
            "",
            httpx.RemoteProtocolError,
            id="a body cut off",
        ),
        pytest.param(
            answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", close=True),
            "",
            httpx.RemoteProtocolError,
            id="a chunked body cut off",
        ),
        pytest.param(resets, "", httpx.ReadError, id="reset after reading the request"),
        pytest.param(hangs, "read", httpx.ReadTimeout, id="silent after reading the request"),
        pytest.param(pauses_in_body, "read", httpx.ReadTimeout, id="a pause within the body"),
    ],
)
async def test_what_the_server_does_is_the_same_error(
    transport: httpx.AsyncBaseTransport,
    behave: Behaviour,
    short: str,
    expected: type[httpx.TransportError],
) -> None:
    async with upstream_double(behave) as double:
        with pytest.raises(httpx.TransportError) as caught:
            await post(transport, double.url(), short=short)
        assert type(caught.value) is expected
        assert len(double.requests) == 1


async def test_a_reset_within_the_body_is_an_error_after_the_send(transport: httpx.AsyncBaseTransport) -> None:
    """The one difference: native says ReadError, ours that the body is incomplete. Both say: answered, and broke off."""
    async with upstream_double(resets_in_body) as double:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await post(transport, double.url())


async def test_a_reset_is_no_end_of_a_body_that_ends_with_its_connection(transport: httpx.AsyncBaseTransport) -> None:
    heard = asyncio.Event()

    async def resets_once_heard(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")
        await heard.wait()
        call.reset()

    async with upstream_double(resets_once_heard) as double:
        response = await transport.handle_async_request(httpx.Request("POST", double.url(), content=b"{}"))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = aiter(response.stream)
        assert await anext(pieces) == b"data: 1\n\n"
        heard.set()
        with pytest.raises(httpx.ReadError):
            await anext(pieces)
        await response.aclose()


async def test_refused_is_a_connect_error(transport: httpx.AsyncBaseTransport) -> None:
    with pytest.raises(httpx.TransportError) as caught:
        await post(transport, f"http://{LOOPBACK}:{find_free_port()}/")
    assert isinstance(caught.value, httpx.ConnectError)


async def test_a_name_without_address_is_a_connect_error(
    transport: httpx.AsyncBaseTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
    with pytest.raises(httpx.TransportError) as caught:
        await post(transport, "http://nowhere.example/")
    assert isinstance(caught.value, httpx.ConnectError)


async def test_an_untrusted_certificate_is_a_connect_error(transport: httpx.AsyncBaseTransport, tmp_path: Path) -> None:
    server_tls, _ = self_signed(tmp_path, LOOPBACK)
    async with upstream_double(answers(reply()), tls=server_tls) as double:
        with pytest.raises(httpx.TransportError) as caught:
            await post(transport, double.url(scheme="https"))
        assert isinstance(caught.value, httpx.ConnectError)
        assert double.requests == []


async def test_no_tls_handshake_is_a_connect_timeout(transport: httpx.AsyncBaseTransport) -> None:
    async with upstream_double(hangs, reads=False) as double:
        with pytest.raises(httpx.ConnectTimeout):
            await post(transport, double.url(scheme="https"), short="connect")


async def test_a_server_that_does_not_read_is_a_write_timeout(transport: httpx.AsyncBaseTransport) -> None:
    async with upstream_double(hangs, reads=False) as double:
        with pytest.raises(httpx.WriteTimeout):
            await post(transport, double.url(), short="write", content=BIG_BODY)


async def test_a_full_pool_is_a_pool_timeout(transport: httpx.AsyncBaseTransport) -> None:
    async with upstream_double(hangs) as double:
        holding = asyncio.create_task(post(transport, double.url()))
        await double.until(lambda: len(double.requests) == 1)
        with pytest.raises(httpx.PoolTimeout):
            await post(transport, double.url(), short="pool")
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def test_a_line_break_in_a_header_is_a_local_error(transport: httpx.AsyncBaseTransport) -> None:
    async with upstream_double(answers(reply())) as double:
        with pytest.raises(httpx.LocalProtocolError):
            await post(transport, double.url(), headers={"x-key": "a\r\nx-injected: b"})
        assert double.requests == []


async def test_another_scheme_is_unsupported(transport: httpx.AsyncBaseTransport) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await post(transport, "ftp://127.0.0.1/")


async def test_a_redirect_and_a_cookie_are_only_reported(transport: httpx.AsyncBaseTransport) -> None:
    moved = reply(b"", "location: /elsewhere", "set-cookie: tenant=a", status="307 Temporary Redirect")
    async with upstream_double(answers(moved)) as double:
        first, second = [await post(transport, double.url(path)) for path in ("/one", "/two")]
        assert (first.status_code, second.status_code) == (307, 307)
        assert first.headers["location"] == "/elsewhere"
        assert [request.line.split()[1] for request in double.requests] == ["/one", "/two"]
        assert double.requests[1].header("cookie") is None
        assert double.connections == 1


async def test_the_request_is_sent_as_it_was_made(transport: httpx.AsyncBaseTransport) -> None:
    async with upstream_double(answers(reply(b"\x1f\x8bnot gzip", "content-encoding: gzip"))) as double:
        request = httpx.Request("POST", double.url("/v1/a%2Fb?x=%20y"), content=b"body", headers={"X-Key": "k"})
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        assert b"".join([piece async for piece in response.stream]) == b"\x1f\x8bnot gzip"
        await response.aclose()
        (received,) = double.requests
        assert received.line == "POST /v1/a%2Fb?x=%20y HTTP/1.1"
        assert received.body == b"body"
        assert sorted(name.lower() for name, _ in received.headers) == ["content-length", "host", "x-key"]
