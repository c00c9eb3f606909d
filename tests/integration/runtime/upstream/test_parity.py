"""Plain httpx is the reference client: the same event must mean the same through ours, and be sent the same way."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from deploy.embedded.ports import LOOPBACK, find_free_port
from keyferry.contracts.addresses import AddressPolicy
from keyferry.runtime.upstream.errors import IncompleteResponse, NoResponse, NotSent, NotSentReason
from keyferry.runtime.upstream.transport import AiohttpTransport
from tests.support.providers.raw_http_server import Behaviour, Call, answers, hangs, raw_http_server, reply, self_signed
from tests.support.providers.raw_transport import closing, send_raw

SHORT_SECONDS = 0.2
BIG_BODY = b"x" * 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a client reports of a failed exchange."""

    stage: str
    """`not sent`, `no response` or `incomplete`."""
    cause: str
    """The name of httpx's error class, or of the class that our error corresponds to."""


class Failed(Exception):
    """An exchange failed. Raised by both clients, so that one test reads both."""

    def __init__(self, meaning: Meaning) -> None:
        super().__init__(meaning)
        self.meaning = meaning


@dataclass(slots=True)
class Response:
    """A response whose head has arrived; `read` returns the next bytes, none at the end, and raises Failed."""

    status: int
    headers: Mapping[str, str]
    read: Callable[[], AbstractAsyncContextManager[bytes]]


class Client(Protocol):
    """One of the two clients."""

    def open(
        self, url: str, *, short: str = "", content: bytes = b"{}", headers: dict[str, str] | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """Send a POST; `short` names the one phase with a timeout, so that no other can stand in for it. Raises Failed."""
        ...


NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.LocalProtocolError)


class NativeClient:
    """httpx's own transport."""

    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self._transport = transport

    @asynccontextmanager
    async def open(
        self, url: str, *, short: str = "", content: bytes = b"{}", headers: dict[str, str] | None = None
    ) -> AsyncIterator[Response]:
        timeout: dict[str, float | None] = dict.fromkeys(("connect", "read", "write", "pool"))
        if short:
            timeout[short] = SHORT_SECONDS
        request = httpx.Request("POST", url, content=content, headers=headers, extensions={"timeout": timeout})
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            never = isinstance(error, (*NOT_SENT, httpx.UnsupportedProtocol))
            raise Failed(Meaning("not sent" if never else "no response", type(error).__name__)) from error
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = aiter(response.stream)

        @asynccontextmanager
        async def read() -> AsyncIterator[bytes]:
            try:
                piece = await anext(pieces, b"")
            except httpx.TransportError as error:
                raise Failed(Meaning("incomplete", type(error).__name__)) from error
            yield piece

        try:
            yield Response(response.status_code, response.headers, read)
        finally:
            await response.aclose()


CAUSES = {
    NotSentReason.CONNECT: "ConnectError",
    NotSentReason.NAME: "ConnectError",
    NotSentReason.TLS: "ConnectError",
    NotSentReason.CONNECT_TIMEOUT: "ConnectTimeout",
    NotSentReason.POOL: "PoolTimeout",
}
DETAILS = {
    "the server closed the connection": "RemoteProtocolError",
    "the answer is not valid HTTP, or its head is too large": "RemoteProtocolError",
    "the body ended before it was complete": "RemoteProtocolError",
    "the connection broke": "ReadError",
    "nothing came for too long": "ReadTimeout",
    "no answer in time": "ReadTimeout",
    "nothing more came for too long": "ReadTimeout",
    "sending took too long": "WriteTimeout",
    "only http and https are supported": "UnsupportedProtocol",
    "the URL or a header cannot be sent": "LocalProtocolError",
}
"""What our message says after its last colon -> httpx's class for the same event."""


def meaning_of(error: NotSent | NoResponse | IncompleteResponse) -> Meaning:
    """The meaning of one of our errors."""
    detail = str(error).rpartition(": ")[2]
    if isinstance(error, NotSent):
        return Meaning("not sent", CAUSES.get(error.reason) or DETAILS[detail])
    cause = DETAILS[detail]
    assert error.timed_out == cause.endswith("Timeout")
    return Meaning("no response" if isinstance(error, NoResponse) else "incomplete", cause)


class OurClient:
    """The worker's transport."""

    def __init__(self, transport: AiohttpTransport) -> None:
        self._transport = transport

    @asynccontextmanager
    async def open(
        self, url: str, *, short: str = "", content: bytes = b"{}", headers: dict[str, str] | None = None
    ) -> AsyncIterator[Response]:
        times = {f"{short}_seconds": SHORT_SECONDS} if short else {}
        try:
            response = await send_raw(self._transport, url, content=content, headers=headers, **times)
        except (NotSent, NoResponse) as error:
            raise Failed(meaning_of(error)) from error

        @asynccontextmanager
        async def read() -> AsyncIterator[bytes]:
            try:
                piece = await response.read()
            except IncompleteResponse as error:
                raise Failed(meaning_of(error)) from error
            yield piece

        named = {name.decode().lower(): value.decode() for name, value in response.headers}
        try:
            yield Response(response.status, named, read)
        finally:
            response.close()


@asynccontextmanager
async def native() -> AsyncIterator[Client]:
    async with httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_connections=1)) as transport:
        yield NativeClient(transport)


@asynccontextmanager
async def ours() -> AsyncIterator[Client]:
    policy = AddressPolicy((ip_network("127.0.0.0/8"),))
    async with closing(AiohttpTransport(policy, max_connections=1)) as transport:
        yield OurClient(transport)


CLIENTS: dict[str, Callable[[], AbstractAsyncContextManager[Client]]] = {"native": native, "ours": ours}


@pytest.fixture(params=sorted(CLIENTS))
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with CLIENTS[request.param]() as made:
        yield made


async def next_piece(response: Response) -> bytes:
    async with response.read() as piece:
        return piece


async def post(
    client: Client, url: str, *, short: str = "", content: bytes = b"{}", headers: dict[str, str] | None = None
) -> tuple[Response, bytes]:
    """A whole exchange."""
    async with client.open(url, short=short, content=content, headers=headers) as response:
        body = b""
        while piece := await next_piece(response):
            body += piece
        return response, body


async def resets(call: Call) -> None:
    call.reset()


async def resets_in_body(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
    call.reset()


async def pauses_in_body(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
    await call.gone()


NO_RESPONSE, INCOMPLETE = "no response", "incomplete"


@pytest.mark.parametrize(
    ("behave", "short", "expected"),
    [
        pytest.param(
            answers(close=True), "", Meaning(NO_RESPONSE, "RemoteProtocolError"), id="closed after reading the request"
        ),
        pytest.param(
            answers(b"HTTP/1.1 200", close=True),
            "",
            Meaning(NO_RESPONSE, "RemoteProtocolError"),
            id="closed within the head",
        ),
        pytest.param(
            answers(b"SSH-2.0-OpenSSH\r\n\r\n", close=True),
            "",
            Meaning(NO_RESPONSE, "RemoteProtocolError"),
            id="not HTTP",
        ),
        pytest.param(
            answers(b"HTTP/1.1 200 OK\r\na: " + b"a" * 200_000 + b"\r\n\r\n"),
            "",
            Meaning(NO_RESPONSE, "RemoteProtocolError"),
            id="an endless header",
        ),
        pytest.param(
            answers(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome", close=True),
            "",
            Meaning(INCOMPLETE, "RemoteProtocolError"),
            id="a body cut off",
        ),
        pytest.param(
            answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", close=True),
            "",
            Meaning(INCOMPLETE, "RemoteProtocolError"),
            id="a chunked body cut off",
        ),
        pytest.param(resets, "", Meaning(NO_RESPONSE, "ReadError"), id="reset after reading the request"),
        pytest.param(hangs, "read", Meaning(NO_RESPONSE, "ReadTimeout"), id="silent after reading the request"),
        pytest.param(pauses_in_body, "read", Meaning(INCOMPLETE, "ReadTimeout"), id="a pause within the body"),
    ],
)
async def test_an_event_at_the_server_means_the_same(
    client: Client, behave: Behaviour, short: str, expected: Meaning
) -> None:
    async with raw_http_server(behave) as double:
        with pytest.raises(Failed) as caught:
            await post(client, double.url(), short=short)
        assert caught.value.meaning == expected
        assert len(double.requests) == 1


async def test_a_reset_within_the_body_is_an_error_after_the_send(client: Client) -> None:
    """The one difference: native says ReadError, ours that the body is incomplete. Both say: answered, and broke off."""
    async with raw_http_server(resets_in_body) as double:
        with pytest.raises(Failed) as caught:
            await post(client, double.url())
        assert caught.value.meaning.stage in (NO_RESPONSE, INCOMPLETE), "the reset may overtake the head"
        assert caught.value.meaning.cause in ("ReadError", "RemoteProtocolError")


async def test_a_reset_does_not_end_a_body_that_ends_with_its_connection(client: Client) -> None:
    first_read = asyncio.Event()

    async def resets_after_the_first_event(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")
        await first_read.wait()
        call.reset()

    async with raw_http_server(resets_after_the_first_event) as double, client.open(double.url()) as response:
        assert await next_piece(response) == b"data: 1\n\n"
        first_read.set()
        with pytest.raises(Failed) as caught:
            await next_piece(response)
        assert caught.value.meaning == Meaning(INCOMPLETE, "ReadError")


async def test_refused_is_a_connect_error(client: Client) -> None:
    with pytest.raises(Failed) as caught:
        await post(client, f"http://{LOOPBACK}:{find_free_port()}/")
    assert caught.value.meaning == Meaning("not sent", "ConnectError")


async def test_a_name_without_address_is_a_connect_error(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
    with pytest.raises(Failed) as caught:
        await post(client, "http://nowhere.example/")
    assert caught.value.meaning == Meaning("not sent", "ConnectError")


async def test_an_untrusted_certificate_is_a_connect_error(client: Client, tmp_path: Path) -> None:
    server_tls, _ = self_signed(tmp_path, LOOPBACK)
    async with raw_http_server(answers(reply()), tls=server_tls) as double:
        with pytest.raises(Failed) as caught:
            await post(client, double.url(scheme="https"))
        assert caught.value.meaning == Meaning("not sent", "ConnectError")
        assert double.requests == []


async def test_no_tls_handshake_is_a_connect_timeout(client: Client) -> None:
    async with raw_http_server(hangs, reads=False) as double:
        with pytest.raises(Failed) as caught:
            await post(client, double.url(scheme="https"), short="connect")
        assert caught.value.meaning == Meaning("not sent", "ConnectTimeout")


async def test_a_server_that_does_not_read_is_a_write_timeout(client: Client) -> None:
    async with raw_http_server(hangs, reads=False) as double:
        with pytest.raises(Failed) as caught:
            await post(client, double.url(), short="write", content=BIG_BODY)
        assert caught.value.meaning == Meaning(NO_RESPONSE, "WriteTimeout")


async def test_a_full_pool_is_a_pool_timeout(client: Client) -> None:
    async with raw_http_server(hangs) as double:
        holding = asyncio.create_task(post(client, double.url()))
        await double.until(lambda: len(double.requests) == 1)
        with pytest.raises(Failed) as caught:
            await post(client, double.url(), short="pool")
        assert caught.value.meaning == Meaning("not sent", "PoolTimeout")
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


async def test_a_line_break_in_a_header_is_a_local_error(client: Client) -> None:
    async with raw_http_server(answers(reply())) as double:
        with pytest.raises(Failed) as caught:
            await post(client, double.url(), headers={"x-key": "a\r\nx-injected: b"})
        assert caught.value.meaning == Meaning("not sent", "LocalProtocolError")
        assert double.requests == []


async def test_another_scheme_is_unsupported(client: Client) -> None:
    with pytest.raises(Failed) as caught:
        await post(client, "ftp://127.0.0.1/")
    assert caught.value.meaning == Meaning("not sent", "UnsupportedProtocol")


async def test_a_redirect_and_a_cookie_are_only_reported(client: Client) -> None:
    moved = reply(b"", "location: /elsewhere", "set-cookie: tenant=a", status="307 Temporary Redirect")
    async with raw_http_server(answers(moved)) as double:
        (first, _), (second, _) = [await post(client, double.url(path)) for path in ("/one", "/two")]
        assert (first.status, second.status) == (307, 307)
        assert first.headers["location"] == "/elsewhere"
        assert [request.line.split()[1] for request in double.requests] == ["/one", "/two"]
        assert double.requests[1].header("cookie") is None
        assert double.connections == 1


async def test_the_request_is_sent_as_it_was_made(client: Client) -> None:
    async with raw_http_server(answers(reply(b"\x1f\x8bnot gzip", "content-encoding: gzip"))) as double:
        url = double.url("/v1/a%2Fb?x=%20y")
        _, body = await post(client, url, content=b"body", headers={"X-Key": "k"})
        assert body == b"\x1f\x8bnot gzip"
        (received,) = double.requests
        assert received.line == "POST /v1/a%2Fb?x=%20y HTTP/1.1"
        assert received.body == b"body"
        assert sorted(name.lower() for name, _ in received.headers) == ["content-length", "host", "x-key"]
