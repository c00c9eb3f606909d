import asyncio
import gc
import gzip
import traceback
import warnings
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from deploy.embedded.ports import LOOPBACK, find_free_port
from keyferry.runtime.upstream.client import ResponseLimits, Timeouts, UpstreamClient, UpstreamResponse
from keyferry.runtime.upstream.errors import (
    IncompleteResponse,
    NoResponse,
    NotSent,
    NotSentReason,
    UpstreamError,
)
from keyferry.runtime.upstream.inflate import STEP_BYTES
from tests.support.providers.raw_http_server import Behaviour, Call, answers, hangs, raw_http_server, reply, self_signed

LOOPBACK_ALLOWED = (ip_network("127.0.0.0/8"),)
PATIENT = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)
SHORT_SECONDS = 0.2
KEY = "sk-very-secret"
PATH = "/v1/chat/completions?key=also-secret"


@asynccontextmanager
async def client(*, limits: ResponseLimits | None = None, max_connections: int = 10) -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient(LOOPBACK_ALLOWED, limits=limits, max_connections=max_connections)
    try:
        yield made
    finally:
        await made.close()


async def post(
    upstream: UpstreamClient,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"{}",
    timeouts: Timeouts = PATIENT,
) -> tuple[UpstreamResponse, bytes]:
    headers = {"Authorization": f"Bearer {KEY}"} if headers is None else headers
    async with upstream.stream("POST", url, headers, content, timeouts) as response:
        return response, b"".join([piece async for piece in response.aiter_raw()])


async def failing(
    behave: Behaviour, timeouts: Timeouts = PATIENT, limits: ResponseLimits | None = None
) -> UpstreamError:
    """The error of one POST, whose request was sent once; it contains nothing secret."""
    async with raw_http_server(behave) as double, client(limits=limits) as upstream:
        with pytest.raises(UpstreamError) as caught:
            await post(upstream, double.url(PATH), timeouts=timeouts)
        assert len(double.requests) == 1
    shown = "".join(traceback.format_exception(caught.value))
    assert "secret" not in shown
    assert "chat/completions" not in str(caught.value)
    return caught.value


async def test_a_response_has_status_headers_and_body() -> None:
    ok = reply(b'{"a":1}', "Content-Type: application/json", "X-Twice: a", "x-twice: b", "Set-Cookie: s=1")
    async with raw_http_server(answers(ok)) as double, client() as upstream:
        response, body = await post(upstream, double.url(PATH))
    assert (response.status, body) == (200, b'{"a":1}')
    assert response.origin == f"http://{LOOPBACK}:{double.port}"
    assert response.headers == {"content-type": "application/json", "x-twice": "a, b", "content-length": "7"}


async def test_only_the_given_headers_and_body_are_sent() -> None:
    async with raw_http_server(answers(reply())) as double, client() as upstream:
        await post(upstream, double.url(PATH), headers={"x-api-key": KEY, "User-Agent": "app/1"}, content=b"body")
        await post(upstream, double.url(PATH), headers={}, content=b"")
        named, bare = double.requests
    assert named.line == f"POST {PATH} HTTP/1.1"
    assert named.body == b"body"
    assert {name.lower(): value for name, value in named.headers} == {
        "host": f"{LOOPBACK}:{double.port}",
        "accept-encoding": "identity",
        "x-api-key": KEY,
        "user-agent": "app/1",
        "content-length": "4",
    }
    assert bare.header("user-agent") == "keyferry"
    assert bare.header("content-length") == "0"


async def test_a_cookie_never_comes_back() -> None:
    ok = reply(b"{}", "set-cookie: tenant=a; Path=/")
    async with raw_http_server(answers(ok)) as double, client() as upstream:
        for _ in range(3):
            await post(upstream, double.url())
        assert [request.header("cookie") for request in double.requests] == [None, None, None]
        assert double.connections == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_an_answer_and_not_followed(status: str) -> None:
    async with raw_http_server(answers(reply())) as inside, client() as upstream:
        moved = reply(b"gone", f"location: {inside.url()}", status=status)
        async with raw_http_server(answers(moved)) as double:
            response, body = await post(upstream, double.url())
        assert (response.status, body) == (int(status[:3]), b"gone")
        assert inside.connections == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_http_server(answers(reply())) as proxy, raw_http_server(answers(reply())) as double:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        async with client() as upstream:
            await post(upstream, double.url())
        assert (proxy.connections, double.connections) == (0, 1)


async def test_a_body_of_many_pieces_arrives_whole_and_without_warnings() -> None:
    content = bytes(range(256)) * 6 * 4096
    async with raw_http_server(answers(reply())) as double, client() as upstream:
        await post(upstream, double.url(), content=content)
        assert double.requests[0].body == content


# --- not sent


async def test_a_refused_connection_is_reported_as_not_sent() -> None:
    async with client() as upstream:
        with pytest.raises(NotSent, match="Connection refused") as caught:
            await post(upstream, f"http://{LOOPBACK}:{find_free_port()}{PATH}")
    assert caught.value.reason is NotSentReason.CONNECT
    assert "secret" not in "".join(traceback.format_exception(caught.value))


async def test_a_name_without_address_is_reported_as_not_sent() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise OSError(f"{host}:{port} is unknown")

    upstream = UpstreamClient(lookup=lookup)
    with pytest.raises(NotSent, match="has no address") as caught:
        await post(upstream, f"https://nowhere.example{PATH}")
    assert caught.value.reason is NotSentReason.NAME
    await upstream.close()


async def test_an_unfinished_handshake_is_not_sent() -> None:
    timeouts = Timeouts(connect_seconds=SHORT_SECONDS, first_byte_seconds=20, between_bytes_seconds=20)
    async with raw_http_server(hangs, reads=False) as double, client() as upstream:
        with pytest.raises(NotSent) as caught:
            await post(upstream, double.url(scheme="https"), timeouts=timeouts)
    assert caught.value.reason is NotSentReason.CONNECT_TIMEOUT


@pytest.mark.parametrize("addresses", [0, 3], ids=["no answer of the resolver", "addresses that do not answer"])
async def test_finding_and_reaching_a_host_has_one_limit(addresses: int) -> None:
    asked: list[str] = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        if not addresses:
            await asyncio.Event().wait()
        return [f"127.0.0.{number}" for number in range(1, addresses + 1)]

    timeouts = Timeouts(connect_seconds=SHORT_SECONDS, first_byte_seconds=20, between_bytes_seconds=20)
    upstream = UpstreamClient(LOOPBACK_ALLOWED, lookup=lookup)
    try:
        async with raw_http_server(hangs, reads=False) as double:
            with pytest.raises(NotSent) as caught:
                await post(upstream, f"https://slow.example:{double.port}/", timeouts=timeouts)
    finally:
        await upstream.close()
    assert asked == ["slow.example"]
    assert caught.value.reason is NotSentReason.CONNECT_TIMEOUT


async def test_the_certificate_must_be_trusted_and_name_the_host(tmp_path: Path) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return [LOOPBACK]

    server_tls, client_tls = self_signed(tmp_path, "right.example")
    async with raw_http_server(answers(reply()), tls=server_tls) as double:
        trusting = UpstreamClient(LOOPBACK_ALLOWED, lookup=lookup, ssl_context=client_tls)
        wary = UpstreamClient(LOOPBACK_ALLOWED, lookup=lookup)
        response, _ = await post(trusting, f"https://right.example:{double.port}/")
        assert response.status == 200
        for upstream, host in ((trusting, "wrong.example"), (wary, "right.example")):
            with pytest.raises(NotSent, match="certificate") as caught:
                await post(upstream, f"https://{host}:{double.port}/")
            assert caught.value.reason is NotSentReason.TLS
        assert len(double.requests) == 1
        await trusting.close()
        await wary.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": f"{KEY}\r\nx-injected: 1"},
        {"x-api-key": f"{KEY}\n"},
        {"x-api-key": f"{KEY}\x00"},
        {"x-api-key": f"{KEY}é"},
        {"x\r\ny": KEY},
        {"x y": KEY},
        {"": KEY},
        {"Host": KEY},
        {"cookie": KEY},
        {"Transfer-Encoding": "chunked"},
        {"content-length": "1"},
        {"Connection": "close"},
        {"accept-encoding": "gzip"},
    ],
)
async def test_a_connection_header_is_rejected(headers: dict[str, str]) -> None:
    async with raw_http_server(answers(reply())) as double, client() as upstream:
        with pytest.raises(NotSent) as caught:
            await post(upstream, double.url(PATH), headers=headers)
        assert double.connections == 0
    assert caught.value.reason is NotSentReason.INVALID
    assert "secret" not in "".join(traceback.format_exception(caught.value))


async def test_a_full_pool_sends_nothing_and_slots_are_returned() -> None:
    timeouts = Timeouts(connect_seconds=SHORT_SECONDS, first_byte_seconds=20, between_bytes_seconds=20)
    async with raw_http_server(hangs) as double, client(max_connections=1) as upstream:
        holding = asyncio.create_task(post(upstream, double.url()))
        await double.until(lambda: len(double.requests) == 1)
        with pytest.raises(NotSent) as caught:
            await post(upstream, double.url(), timeouts=timeouts)
        assert caught.value.reason is NotSentReason.POOL
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await double.until(lambda: double.open_connections == 0)
    async with raw_http_server(answers(reply())) as double, client(max_connections=1) as upstream:
        for _ in range(3):
            with pytest.raises(NotSent):
                await post(upstream, f"http://{LOOPBACK}:{find_free_port()}/")
            await post(upstream, double.url())


# --- sent, and no answer


async def test_closed_after_reading_may_have_been_paid() -> None:
    error = await failing(answers(close=True))
    assert isinstance(error, NoResponse)
    assert not error.timed_out


async def test_reset_after_reading_may_have_been_paid() -> None:
    async def reset(call: Call) -> None:
        call.reset()

    error = await failing(reset)
    assert isinstance(error, NoResponse)
    assert not error.timed_out


async def test_silence_after_reading_may_have_been_paid() -> None:
    error = await failing(
        hangs, Timeouts(connect_seconds=20, first_byte_seconds=SHORT_SECONDS, between_bytes_seconds=20)
    )
    assert isinstance(error, NoResponse)
    assert error.timed_out


async def test_garbage_may_have_been_paid() -> None:
    error = await failing(answers(b"220 mail.example ESMTP\r\n\r\n", close=True))
    assert isinstance(error, NoResponse)


async def test_too_many_or_too_large_headers_may_have_been_paid() -> None:
    many = reply(b"", *(f"x-{number}: 1" for number in range(100)))
    assert isinstance(await failing(answers(many)), NoResponse)
    assert isinstance(await failing(answers(reply(b"", f"x: {'a' * 10_000}"))), NoResponse)


async def test_a_server_that_reads_nothing_may_have_been_paid() -> None:
    timeouts = Timeouts(connect_seconds=20, first_byte_seconds=SHORT_SECONDS, between_bytes_seconds=20)
    async with raw_http_server(hangs, reads=False) as double, client() as upstream:
        with pytest.raises(NoResponse) as caught:
            await post(upstream, double.url(), content=b"x" * 32 * 1024 * 1024, timeouts=timeouts)
        assert caught.value.timed_out


async def test_a_dripping_head_has_an_end() -> None:
    async def drips(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nx: ")
        while not call.writer.is_closing():
            await call.send(b"a")
            await asyncio.sleep(SHORT_SECONDS / 10)

    error = await failing(drips, Timeouts(SHORT_SECONDS, SHORT_SECONDS, 20))
    assert isinstance(error, NoResponse)
    assert error.timed_out


HEAD = b"HTTP/1.1 200 OK\r\n"


async def drip(call: Call, before: bytes, piece: bytes) -> None:
    await call.send(before)
    while not call.writer.is_closing():
        await call.send(piece)
        await asyncio.sleep(SHORT_SECONDS / 10)


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"", b"H"),
        (HEAD, b"x: 1\r\n"),
        (HEAD + b"x: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        (b"", b"\r\n"),
    ],
    ids=["status line", "headers", "one header", "continue", "early hints", "empty lines"],
)
async def test_a_head_that_drips_has_the_time_of_one_that_is_silent(before: bytes, piece: bytes) -> None:
    # The connection and the sending have far more time: the head's own limit is what ends it.
    error = await failing(lambda call: drip(call, before, piece), Timeouts(600, SHORT_SECONDS, 600))
    assert isinstance(error, NoResponse)


@pytest.mark.parametrize("piece", [b"x: " + b"a" * 1000 + b"\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_an_endless_head_is_cut_off(piece: bytes) -> None:
    async def endless(call: Call) -> None:
        head = b"" if piece.startswith(b"HTTP") else HEAD
        await call.send(head)
        while not call.writer.is_closing():
            await call.send(piece * 20)

    error = await failing(endless)
    assert isinstance(error, NoResponse)
    assert not error.timed_out


async def test_informational_responses_before_the_answer_are_passed_over() -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    for pieces in (
        (hints + reply(b"abc"),),
        (hints, reply(b"abc")),
        tuple(bytes([one]) for one in hints + reply(b"abc")),
    ):
        async with raw_http_server(answers(*pieces)) as double, client() as upstream:
            response, body = await post(upstream, double.url())
            assert (response.status, body) == (200, b"abc")
            assert (await post(upstream, double.url()))[1] == b"abc"
            assert double.connections == 1


# --- more than the answer

SURPLUS = [b"x", b"\r\n", b"\0" * 64, b"garbage\r\n\r\n", reply(b"other")]
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize("behind", SURPLUS)
@pytest.mark.parametrize("whole", [reply(b"abc"), reply(b"abc", "connection: close"), CHUNKED])
@pytest.mark.parametrize("together", [True, False])
async def test_bytes_behind_an_answer_are_not_part_of_it(whole: bytes, behind: bytes, together: bool) -> None:
    pieces = (whole + behind,) if together else (whole[:-2], whole[-2:] + behind)
    async with raw_http_server(answers(*pieces)) as double, client() as upstream:
        for _ in range(3):
            response, body = await post(upstream, double.url())
            assert (response.status, body) == (200, b"abc")
        assert len(double.requests) == 3


async def test_an_answer_that_nobody_asked_for_answers_no_later_request() -> None:
    unasked = asyncio.Event()

    async def speaks(call: Call) -> None:
        await call.send(reply(b"first" if call.number == 1 else b"second"))
        if call.number == 1:
            await unasked.wait()
            await call.send(reply(b"stale"))

    async with raw_http_server(speaks) as double, client() as upstream:
        assert (await post(upstream, double.url()))[1] == b"first"
        unasked.set()
        await double.until(lambda: double.open_connections == 0)
        assert (await post(upstream, double.url()))[1] == b"second"
        assert double.connections == 2


async def test_a_post_is_never_sent_again_on_a_connection_that_died() -> None:
    async def once(call: Call) -> None:
        if call.number == 1:
            await call.send(reply())
        else:
            call.writer.close()

    async with raw_http_server(once) as double, client() as upstream:
        await post(upstream, double.url())
        with pytest.raises(NoResponse):
            await post(upstream, double.url())
        assert len(double.requests) == 2
        assert double.connections == 1


# --- broken off


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 100\r\n\r\nsome",
        b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
        b"transfer-encoding: chunked\r\n\r\n40\r\nsome",
    ],
)
async def test_a_body_cut_off_is_not_a_whole_answer(head: bytes) -> None:
    error = await failing(answers(b"HTTP/1.1 200 OK\r\n" + head, close=True))
    assert isinstance(error, IncompleteResponse)
    assert not error.timed_out


@pytest.mark.parametrize(
    "head", [b"content-length: 100\r\n\r\nsome", b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"]
)
async def test_a_reset_within_the_body_is_not_a_whole_answer(head: bytes) -> None:
    async def reset(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\n" + head)
        call.reset()

    async with raw_http_server(reset) as double, client() as upstream:
        # The reset may overtake the head.
        with pytest.raises((IncompleteResponse, NoResponse)):
            await post(upstream, double.url())


async def test_a_pause_within_the_body_is_not_a_whole_answer() -> None:
    async def pauses(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
        await call.gone()

    error = await failing(
        pauses, Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=SHORT_SECONDS)
    )
    assert isinstance(error, IncompleteResponse)
    assert error.timed_out


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n1", b"0"),
        (b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n5;a=", b"b"),
        (b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n", b"x: 1\r\n"),
    ],
    ids=["chunk size", "chunk extension", "trailers"],
)
async def test_a_body_that_drips_without_content_is_a_pause(before: bytes, piece: bytes) -> None:
    error = await failing(lambda call: drip(call, HEAD + before, piece), Timeouts(600, 600, SHORT_SECONDS))
    assert isinstance(error, IncompleteResponse)


async def test_a_body_that_goes_on_slowly_is_no_pause() -> None:
    async def slow(call: Call) -> None:
        await call.send(HEAD + b"content-length: 12\r\n\r\n")
        for _ in range(12):
            await call.send(b"a")
            await asyncio.sleep(0.08)

    async with raw_http_server(slow) as double, client() as upstream:
        body = (await post(upstream, double.url(), timeouts=Timeouts(20, 20, 0.8)))[1]
    assert body == b"a" * 12


async def test_the_body_may_pause_longer_than_the_head() -> None:
    async def pauses(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
        for piece in (b"a", b"b", b"c"):
            await asyncio.sleep(SHORT_SECONDS * 2)
            await call.send(piece)

    timeouts = Timeouts(connect_seconds=20, first_byte_seconds=SHORT_SECONDS, between_bytes_seconds=20)
    async with raw_http_server(pauses) as double, client() as upstream:
        assert (await post(upstream, double.url(), timeouts=timeouts))[1] == b"abc"


async def test_pieces_arrive_as_they_are_sent() -> None:
    first_read = asyncio.Event()

    async def waits(call: Call) -> None:
        await call.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n", b"data: 1\n\n"
        )
        await first_read.wait()
        await call.send(b"data: 2\n\n")
        call.writer.close()

    async with (
        raw_http_server(waits) as double,
        client() as upstream,
        upstream.stream("POST", double.url(), {}, b"{}", PATIENT) as response,
    ):
        body = response.aiter_raw()
        assert await anext(body) == b"data: 1\n\n"
        first_read.set()
        assert [piece async for piece in body] == [b"data: 2\n\n"]


# --- sizes and codings

SMALL = ResponseLimits(json_bytes=1000, stream_bytes=3000)


@pytest.mark.parametrize(
    ("content_type", "size", "passes"),
    [
        ("application/json", 1000, True),
        ("application/json", 1001, False),
        ("text/html", 1001, False),
        ("text/event-stream; charset=utf-8", 1001, True),
        ("Text/Event-Stream", 3000, True),
        ("text/event-stream", 3001, False),
        ("application/vnd.amazon.eventstream", 3000, True),
    ],
)
@pytest.mark.parametrize("framing", [True, False])
async def test_an_answer_up_to_the_limit_is_accepted(content_type: str, size: int, passes: bool, framing: bool) -> None:
    body = b"x" * size
    behave = answers(reply(body, f"content-type: {content_type}", framing=framing), close=not framing)
    if not passes:
        error = await failing(behave, limits=SMALL)
        assert isinstance(error, IncompleteResponse)
        assert "larger than" in str(error)
        return
    async with raw_http_server(behave) as double, client(limits=SMALL) as upstream:
        assert (await post(upstream, double.url()))[1] == body


async def test_an_answer_that_announces_too_much_is_rejected_at_once() -> None:
    async def announces(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n")
        await call.gone()

    assert "larger than" in str(await failing(announces, limits=SMALL))


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_unrequested_compression_is_undone(coding: str, compress: Callable[[bytes], bytes]) -> None:
    body = b'{"choices": []}' * 100
    ok = reply(compress(body), f"content-encoding: {coding}")
    async with raw_http_server(answers(ok)) as double, client() as upstream:
        assert (await post(upstream, double.url()))[1] == body


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
async def test_a_gzip_bomb_never_fills_memory(content_type: str) -> None:
    machine = zlib.compressobj(wbits=31)
    bomb = b"".join(machine.compress(bytes(1024 * 1024)) for _ in range(128)) + machine.flush()
    assert len(bomb) < 256 * 1024
    behave = answers(reply(bomb, f"content-type: {content_type}", "content-encoding: gzip"))
    sizes: list[int] = []
    async with raw_http_server(behave) as double, client() as upstream:
        with pytest.raises(IncompleteResponse, match=r"inflates|larger than"):
            await _note_sizes(upstream, double.url(), sizes)
    assert 0 < sum(sizes) <= 64 * 1024 * 1024
    assert max(sizes) <= STEP_BYTES


async def _note_sizes(upstream: UpstreamClient, url: str, sizes: list[int]) -> None:
    async with upstream.stream("POST", url, {}, b"{}", PATIENT) as response:
        async for piece in response.aiter_raw():
            sizes.append(len(piece))


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd"])
async def test_other_codings_are_refused(coding: str) -> None:
    error = await failing(answers(reply(b"abc", f"content-encoding: {coding}")))
    assert isinstance(error, IncompleteResponse)
    assert "not asked for" in str(error)


async def test_a_compressed_answer_cut_off_is_not_whole() -> None:
    packed = gzip.compress(b"hello" * 100)[:-9]
    error = await failing(answers(reply(packed, "content-encoding: gzip")))
    assert isinstance(error, IncompleteResponse)


# --- connections


async def test_a_stream_left_at_its_terminal_event_keeps_its_connection() -> None:
    left, ended = asyncio.Event(), asyncio.Event()

    async def streams(call: Call) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await call.send(head, b"e\r\ndata: [DONE]\n\n\r\n")
        await left.wait()
        await call.send(b"0\r\n\r\n")
        ended.set()

    async with raw_http_server(streams) as double, raw_http_server(answers(reply())) as other, client() as upstream:
        async with upstream.stream("POST", double.url(), {}, b"{}", PATIENT) as response:
            assert await anext(response.aiter_raw()) == b"data: [DONE]\n\n"
        left.set()
        await ended.wait()
        # What comes later has been read only after what came before.
        await post(upstream, other.url())
        await post(upstream, double.url())
        assert double.connections == 1


async def test_a_stream_left_in_the_middle_is_closed() -> None:
    async def streams(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n")
        await call.gone()
        call.writer.close()

    async with raw_http_server(streams) as double, client() as upstream:
        async with upstream.stream("POST", double.url(), {}, b"{}", PATIENT) as response:
            await anext(response.aiter_raw())
        await double.until(lambda: double.connections == 1 and double.open_connections == 0)


async def test_cancelling_closes_at_once_and_returns_the_slot() -> None:
    async with raw_http_server(hangs) as double, client(max_connections=1) as upstream:
        for count in (1, 2):
            call = asyncio.create_task(post(upstream, double.url()))
            await double.until(lambda count=count: len(double.requests) == count)  # type: ignore[misc]
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await double.until(lambda: double.open_connections == 0)


def test_a_response_that_may_still_end_is_closed_with_the_client() -> None:
    async def read_and_close() -> None:
        async def behave(call: Call) -> None:
            await call.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n")
            await call.gone()

        async with (
            raw_http_server(behave) as double,
            client() as upstream,
            upstream.stream("POST", double.url(PATH), {}, b"{}", PATIENT) as response,
        ):
            assert await anext(response.aiter_raw()) == b"yes"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(read_and_close())
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
