"""What a stranger can do to the HTTP server with raw bytes: nothing that costs memory, time, or other clients' requests."""

import asyncio
import json
from dataclasses import replace

import pytest

from keyferry.runtime.http.body import RequestBodyLimits
from keyferry.runtime.http.connection import ClientConnection, ReadPhase
from keyferry.runtime.http.limits import MAX_HEADERS, MAX_URL_BYTES
from tests.support.servers.http_service import PATIENT, Application, HttpService, RawClient, http_service
from tests.support.waiting import TIMEOUT_SECONDS, eventually

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HOST = b"Host: x\r\n"
CHUNKED = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SMALL = replace(PATIENT, head_bytes=4096)
ENDLESS_BYTES = 64 * 1024 * 1024
MOST_LET_IN_BYTES = 32 * 1024 * 1024
"""More than is read and discarded after a refusal, and than the kernel buffers."""


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> dict[str, object]:
    """The error object of an answer: OpenAI's four fields."""
    error: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error.keys() == {"message", "type", "param", "code", "keyferry"}
    return error


async def flood(client: RawClient, piece: bytes) -> int:
    """Send `piece` again and again until the server ends the connection, and return how many bytes it let in."""
    sent = 0
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while sent < ENDLESS_BYTES:
                client.writer.write(piece)
                await client.writer.drain()
                sent += len(piece)
    except ConnectionError:
        pass
    return sent


async def open_connections(service: HttpService, number: int) -> None:
    await eventually(f"{number} connections are open", lambda: service.server.count.open == number)


async def others_are_served(service: HttpService) -> None:
    client = await service.connect()
    await client.send(GET)
    assert status_of(await client.read_answer()) == 200
    client.close()


# --- heads


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"a" * 65536, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n" * 10_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a" * 65536, 431),
        (b"", b"\r\n" * 30_000, 431),
    ],
    ids=["value", "lines", "name", "empty lines"],
)
async def test_an_endless_head_is_refused_and_not_read_on(start: bytes, piece: bytes, status: int) -> None:
    async with http_service(SMALL) as service:
        client = await service.connect()
        await client.send(start)
        assert await flood(client, piece) < MOST_LET_IN_BYTES
        await others_are_served(service)
        assert service.app.started == ["/"]
        assert service.server.count.ended == {"headers_too_large": 1}
        client.close()
        answer = await service.exchange(start + piece[:5000])
        assert status_of(answer) == status
        assert error_of(answer)["code"] == "headers_too_large"


async def test_an_endless_url_is_refused() -> None:
    async with http_service() as service:
        answer = await service.exchange(b"GET /" + b"a" * MAX_URL_BYTES)
        assert status_of(answer) == 414
        assert error_of(answer)["code"] == "url_too_long"
        client = await service.connect()
        assert await flood(client, b"GET /" + b"a" * 65536) < MOST_LET_IN_BYTES
        client.close()
        await others_are_served(service)


async def test_the_longest_allowed_head_is_served_and_one_byte_more_is_not() -> None:
    async with http_service(SMALL) as service:
        filler = SMALL.head_bytes - len(b"GET / HTTP/1.1\r\nHost: x\r\nA: \r\nConnection: close\r\n\r\n")
        for extra, status in ((0, 200), (1, 431)):
            value = b"a" * (filler + extra)
            whole = b"GET / HTTP/1.1\r\nHost: x\r\nA: " + value + b"\r\nConnection: close\r\n\r\n"
            assert status_of(await service.exchange(whole)) == status
            assert status_of(await service.exchange(*(whole[i : i + 7] for i in range(0, len(whole), 7)))) == status


async def test_headers_are_limited_in_number() -> None:
    async with http_service() as service:
        most = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"A: b\r\n" * (MAX_HEADERS - 2)
        assert status_of(await service.exchange(most + b"\r\n")) == 200
        answer = await service.exchange(most + b"A: b\r\n\r\n")
        assert (status_of(answer), error_of(answer)["code"]) == (431, "headers_too_large")


async def test_a_dripping_head_is_ended_with_408() -> None:
    async with http_service(head_timeout_seconds=0.5) as service:
        client = await service.connect()

        async def drip() -> None:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
            while True:
                await client.send(b"A: b\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        answer = await client.read_to_end()
        dripping.cancel()
        client.close()
        assert (status_of(answer), error_of(answer)["code"]) == (408, "timeout")
        assert service.app.started == []


async def test_a_second_dripping_head_is_ended_too() -> None:
    async with http_service(head_timeout_seconds=0.5) as service:
        client = await service.connect()
        await client.send(GET)
        assert status_of(await client.read_answer()) == 200
        await client.send(b"GET / HT")
        assert status_of(await client.read_to_end()) == 408
        client.close()


async def test_a_thousand_silent_connections_are_closed_and_others_are_served() -> None:
    async with http_service(head_timeout_seconds=0.5) as service:
        clients = [await service.connect() for _ in range(1000)]
        await others_are_served(service)
        assert await asyncio.gather(*(client.read_to_end() for client in clients)) == [b""] * 1000
        await open_connections(service, 0)
        for client in clients:
            client.close()
        assert service.app.started == ["/"]
        assert service.server.count.ended == {"idle": 1000}


async def test_an_idle_connection_is_closed() -> None:
    async with http_service(idle_timeout_seconds=0.2) as service:
        client = await service.connect()
        await client.send(GET)
        assert status_of(await client.read_to_end()) == 200
        client.close()


# --- one request at a time


async def test_requests_that_nobody_reads_the_answers_of_are_not_worked_on() -> None:
    """A client pipelines and never reads: one request is in progress, and the rest is not even parsed."""
    async with http_service() as service:
        client = await service.connect()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        flooding = asyncio.create_task(flood(client, GET * 1000))
        await others_are_served(service)
        await others_are_served(service)
        assert service.app.started == ["/wait", "/", "/"]
        service.app.release.set()
        assert await flooding < MOST_LET_IN_BYTES
        assert service.app.started == ["/wait", "/", "/"]
        client.close()


async def test_a_few_pipelined_requests_are_answered_in_order() -> None:
    async with http_service() as service:
        client = await service.connect()
        post = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
        await client.send(post + b"one" + post + b"two" + GET + post + b"thr")
        statuses = [status_of(await client.read_answer()) for _ in range(4)]
        assert statuses == [200] * 4
        assert service.app.started == ["/body", "/body", "/", "/body"]
        assert service.app.bodies == [b"one", b"two", b"thr"]
        client.close()


async def test_a_request_behind_a_chunked_body_closes_the_connection() -> None:
    async with http_service() as service:
        answer = await service.exchange(CHUNKED + b"2\r\nab\r\n0\r\n\r\n" + GET)
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answer
        assert (service.app.started, service.app.bodies) == (["/body"], [b"ab"])


# --- bodies


async def test_nothing_of_a_body_is_read_before_the_application_asks_for_it() -> None:
    async with http_service() as service:
        client = await service.connect()
        await client.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        await eventually("it is seen", lambda: service.app.started == ["/wait"])
        client.close()
        answer = await service.exchange(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"x" * 1_000_000
        )
        assert status_of(answer) == 200
        assert b"connection: close" in answer


async def test_a_body_that_nobody_asked_for_stays_with_its_client() -> None:
    async with http_service() as service:
        client = await service.connect()
        await client.send(b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        await eventually("it is seen", lambda: service.app.started == ["/busy"])
        (connection,) = service.server._config.guarded
        client.writer.write(b"x" * 50_000)
        await others_are_served(service)
        await others_are_served(service)
        assert connection.cycle.body == b""
        client.close()


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_head_whose_end_is_cut_anywhere_ends_there(cut: int) -> None:
    """What follows it is its body and the next request, and not more of the head."""
    post = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    async with http_service() as service:
        client = await service.connect()
        await client.send(post[:-cut])
        await others_are_served(service)
        await client.send(post[-cut:] + b"one" + GET)
        assert [status_of(await client.read_answer()) for _ in range(2)] == [200, 200]
        assert (service.app.started, service.app.bodies) == (["/", "/body", "/"], [b"one"])
        client.close()


async def test_a_client_that_sends_its_whole_body_first_still_gets_the_refusal() -> None:
    async with http_service() as service:
        body = b"x" * 4_000_000
        answer = await service.exchange(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n", body)
        assert (status_of(answer), error_of(answer)["code"]) == (413, "request_too_large")


async def test_an_endless_body_after_its_refusal_ends_the_connection() -> None:
    async with http_service() as service:
        client = await service.connect()
        await client.send(CHUNKED.replace(b"/body", b"/"))
        assert await flood(client, b"10000\r\n" + b"x" * 65536 + b"\r\n") < MOST_LET_IN_BYTES
        client.close()
        await others_are_served(service)


async def test_a_dripping_body_is_ended_with_408() -> None:
    app = Application(RequestBodyLimits(1000, 0.2, "a test"))
    async with http_service(app=app) as service:
        answer = await service.exchange(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
        assert (status_of(answer), error_of(answer)["code"]) == (408, "timeout")


async def test_expect_100_continue_is_answered_when_the_body_is_wanted_and_not_before() -> None:
    expect = b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with http_service() as service:
        client = await service.connect()
        await client.send(b"POST /body" + expect)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"ab")
        assert status_of(await client.read_answer()) == 200
        await client.send(b"POST /" + expect)
        refused = await client.read_to_end()
        assert b"100 Continue" not in refused
        assert b"connection: close" in refused
        client.close()


@pytest.mark.parametrize(
    "body",
    [b"1;" + b"a" * 40_000, b"0\r\n" + b"T: x\r\n" * 10_000, b"0\r\nT: " + b"x" * 40_000],
    ids=["extension", "trailers", "trailer"],
)
async def test_endless_framing_of_a_chunked_body_is_refused(body: bytes) -> None:
    async with http_service() as service:
        answer = await service.exchange(CHUNKED + body)
        assert (status_of(answer), error_of(answer)["code"]) == (400, "malformed_request")
        assert (service.app.bodies, service.app.disconnects) == ([], 1)


async def test_trailers_do_not_become_headers() -> None:
    async with http_service() as service:
        client = await service.connect()
        await client.send(CHUNKED + b"2\r\nab\r\n0\r\nContent-Encoding: gzip\r\n\r\n")
        assert status_of(await client.read_answer()) == 200
        assert service.app.bodies == [b"ab"]
        client.close()


async def test_a_body_of_many_small_chunks_arrives_whole() -> None:
    async with http_service() as service:
        answer = await service.exchange(CHUNKED + b"1;a=b\r\nx\r\n" * 50_000 + b"0\r\n\r\n" + b"GET")
        assert status_of(answer) == 200
        assert service.app.bodies == [b"x" * 50_000]


# --- requests that other servers might read differently


UNACCEPTABLE = (
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    (b"GET /\r\n\r\n", 505),
    (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    (b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET / HTTP/1.1\n" + HOST, 400),
    (b"GET / HTTP/1.1\r\nHost: x\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A\x00: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: 2,2\r\n\r\nab", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: +2\r\n\r\nab", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: -2\r\n\r\nab", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: 0x2\r\n\r\nab", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nab", 400),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST /body HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    (CHUNKED + b"fffffffffffffffff\r\n", 400),
    (CHUNKED + b"-1\r\n", 400),
    (CHUNKED + b"1\nx", 400),
    (CHUNKED + b"1\r\nxyz\r\n", 400),
)


async def test_what_is_ambiguous_or_no_http_is_refused_and_closes_the_connection() -> None:
    async with http_service() as service:
        for request_bytes, status in UNACCEPTABLE:
            answer = await service.exchange(request_bytes)
            assert status_of(answer) == status, request_bytes
            assert answer.count(b"\r\n\r\n") == 1, request_bytes
            assert b"connection: close\r\n" in answer, request_bytes
            error_of(answer)
        assert service.app.bodies == []


async def test_tls_on_the_plain_port_is_explained() -> None:
    async with http_service() as service:
        assert "without TLS" in str(error_of(await service.exchange(b"\x16\x03\x01\x02\x00\x01"))["message"])


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
async def test_an_upgrade_is_ignored_and_the_request_answered(upgrade: bytes) -> None:
    async with http_service() as service:
        answer = await service.exchange(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n" + GET
        )
        assert (status_of(answer), answer.count(b"\r\n\r\n")) == (200, 1)
        assert service.app.started == ["/"]


@pytest.mark.parametrize("behind", [b"", GET], ids=["nothing", "a request"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_the_body_of_a_request_that_asks_for_an_upgrade_is_read(chunked: bool, behind: bytes) -> None:
    """Java's HTTP client asks for HTTP/2 so; its bodies were read as empty."""
    body = b'{"model": "m"}' * 5000
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" + framing + b"\r\n\r\n"
    sent = b"%x\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(body), body) if chunked else body
    async with http_service() as service:
        for pieces in ((head + sent + behind,), (head[:60], head[60:], sent[:7], sent[7:-2], sent[-2:] + behind)):
            client = await service.connect()
            for piece in pieces:
                await client.send(piece)
            answer = await client.read_to_end()
            client.close()
            assert (status_of(answer), answer.count(b"\r\n\r\n")) == (200, 1)
        assert service.app.bodies == [body, body]
        assert service.app.started == ["/body", "/body"]


async def test_http_1_0_is_served_and_closed() -> None:
    async with http_service() as service:
        assert status_of(await service.exchange(b"GET / HTTP/1.0\r\n\r\n")) == 200


# --- answers that nobody reads


async def test_an_answer_that_nobody_reads_ends_its_connection() -> None:
    async with http_service(write_timeout_seconds=0.3, app=Application(stream_bytes=50_000_000)) as service:
        client = await service.connect()
        await client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually("it is seen", lambda: service.server.count.ended == {"answer_not_read": 1})
        await open_connections(service, 0)
        with pytest.raises(ConnectionResetError):  # and not the megabytes that the kernel has taken
            await asyncio.wait_for(client.reader.read(), TIMEOUT_SECONDS)
        client.close()


async def test_a_client_that_pauses_within_the_limit_gets_the_whole_answer() -> None:
    app = Application(stream_bytes=50_000_000)
    async with http_service(app=app) as service:
        client = await service.connect()
        await client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await others_are_served(service)
        assert app.sent_bytes < app.stream_bytes
        assert (await client.read_to_end()).endswith(b"\r\n0\r\n\r\n")
        client.close()


# --- numbers of connections


async def test_connections_are_limited_for_one_address_and_in_all() -> None:
    for limits, message in (
        (replace(PATIENT, connections_per_address=3), "your address has"),
        (replace(PATIENT, connections=3), "this gateway has"),
    ):
        async with http_service(limits) as service:
            held = [await service.connect() for _ in range(3)]
            await open_connections(service, 3)
            answer = await service.exchange(GET)
            assert (status_of(answer), error_of(answer)["code"]) == (503, "too_many_connections")
            assert message in str(error_of(answer)["message"])
            assert b"retry-after: 1\r\n" in answer
            await held[0].send(GET)
            assert status_of(await held[0].read_answer()) == 200
            held.pop().close()
            await open_connections(service, 2)
            await others_are_served(service)
            for client in held:
                client.close()


async def test_draining_closes_idle_and_silent_connections_and_finishes_answers() -> None:
    async with http_service() as service:
        idle, silent, busy = [await service.connect() for _ in range(3)]
        await idle.send(GET)
        await idle.read_answer()
        await busy.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
        await eventually("it is seen", lambda: service.app.started == ["/", "/wait"])
        arriving = await service.connect()
        await arriving.send(GET[:10])
        await open_connections(service, 4)
        await others_are_served(service)
        draining = asyncio.create_task(service.server.drain())
        assert await idle.read_to_end() == b""
        await arriving.send(GET[10:])
        assert b"connection: close" in await arriving.read_to_end()
        assert await silent.read_to_end() == b""
        service.app.release.set()
        assert b"connection: close" in await busy.read_to_end()
        await draining
        for client in (idle, silent, busy, arriving):
            client.close()
        assert service.server.count.open == 0
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "http-connections" and not task.done()]


async def test_a_body_may_take_longer_than_a_head() -> None:
    """The limits of heads and of idle connections are not those of a body, which the application has limits for."""
    async with http_service() as service:
        client = await service.connect()
        await client.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        await eventually("it is seen", lambda: service.app.started == ["/body"])
        (connection,) = service.server._config.guarded
        connection.check(asyncio.get_running_loop().time() + 10_000)
        await client.send(b"b")
        assert status_of(await client.read_answer()) == 200
        client.close()


async def test_a_head_that_drips_does_not_hold_up_the_end_of_the_server() -> None:
    async with http_service() as service:
        client = await service.connect()
        await client.send(b"GET / HTTP/1.1\r\nHo")
        await eventually("its beginning has arrived", lambda: connection_of(service)._phase is ReadPhase.HEAD)
        connection = connection_of(service)
        connection.shutdown()
        connection.check(asyncio.get_running_loop().time() + 3)
        assert status_of(await client.read_to_end()) == 408
        client.close()


def connection_of(service: HttpService) -> ClientConnection:
    (connection,) = service.server._config.guarded
    return connection


async def test_a_client_that_hangs_up_during_an_answer_is_noticed() -> None:
    async with http_service() as service:
        client = await service.connect()
        await client.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
        await eventually("it is seen", lambda: service.app.started == ["/wait"])
        client.close()
        await eventually("it is seen", lambda: service.app.disconnects == 1)
        await eventually("nothing is kept of it", lambda: not service.server._config.guarded)


async def test_a_connection_that_cannot_be_checked_does_not_end_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[ClientConnection] = []
    check = ClientConnection.check

    def fail_for_the_first(connection: ClientConnection, now: float) -> None:
        checked.append(connection)
        if connection is checked[0]:
            raise RuntimeError("as the test wants")
        check(connection, now)

    monkeypatch.setattr(ClientConnection, "check", fail_for_the_first)
    async with http_service(head_timeout_seconds=0.2) as service:
        clients = [await service.connect() for _ in range(3)]
        assert await asyncio.gather(*(client.read_to_end() for client in clients)) == [b""] * 3
        for client in clients:
            client.close()


async def test_a_preflight_request_and_a_head_request_have_no_body_and_keep_the_connection() -> None:
    async with http_service(origins=frozenset({"https://app.example.com"})) as service:
        client = await service.connect()
        origin = b"Host: x\r\nOrigin: https://app.example.com\r\n"
        await client.send(b"OPTIONS / HTTP/1.1\r\n" + origin + b"Access-Control-Request-Method: POST\r\n\r\n")
        preflight = await client.read_answer()
        assert status_of(preflight) == 200
        assert b"access-control-allow-origin: https://app.example.com\r\n" in preflight
        await client.send(b"HEAD / HTTP/1.1\r\n" + origin + b"\r\n" + GET)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            head = await client.reader.readuntil(b"\r\n\r\n")
        assert (status_of(head), status_of(await client.read_answer())) == (200, 200)
        client.close()
