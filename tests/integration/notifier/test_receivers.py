"""Receivers of webhooks that answer badly, over real connections: each ends soon, in words, and delays no other."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from aiohttp import web

from keyferry.contracts.webhooks import DeliveryState
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.upstream import guard
from keyferry.runtime.upstream.client import Timeouts
from services.notifier.delivery import http_post, sender
from services.notifier.delivery.outcome import MAX_ANSWER
from tests.integration.notifier.log import all_finished, first_outcome, log_of
from tests.integration.notifier.receiver import HookReceiver, ReceivedHook
from tests.integration.notifier.system import NotifierUnderTest, alert
from tests.support.providers.raw_http_server import Behaviour, Call, answers, hangs, raw_http_server, reply
from tests.support.providers.rebinding import GOOD_ALLOWED, answering, good_and_bad
from tests.support.servers.migrated_database import MigratedDatabase
from tests.support.waiting import eventually, eventually_async

HEAD = b"HTTP/1.1 200 OK\r\n"
SOCKET_BYTES = 24_000_000
"""More than the buffers of both ends of a connection hold (tcp_wmem and tcp_rmem of tcp(7)): what was sent beyond was read."""


def drips(before: bytes, piece: bytes) -> Behaviour:
    """Send `before`, then a piece ten times a second until the client has enough."""

    async def behave(call: Call) -> None:
        await call.send(before)
        while not call.writer.is_closing():
            await call.send(piece)
            await asyncio.sleep(0.1)

    return behave


class Flood:
    """Sends `before`, then pieces as fast as they are taken. `most` is what one call could send."""

    def __init__(self, before: bytes, piece: bytes = b"y" * 64 * 1024) -> None:
        self._before = before
        self._piece = piece
        self.most = 0

    async def __call__(self, call: Call) -> None:
        await call.send(self._before)
        sent = 0
        while not call.writer.is_closing() and self.most < 2 * SOCKET_BYTES:
            await call.send(self._piece)
            sent += len(self._piece)
            self.most = max(self.most, sent)


async def resets(call: Call) -> None:
    """Hang up with a reset."""
    call.reset()


async def resets_in_body(call: Call) -> None:
    """Begin to answer, and hang up with a reset."""
    await call.send(HEAD + b"content-length: 100\r\n\r\nsome")
    await asyncio.sleep(0)
    call.reset()


@dataclass(frozen=True)
class Bad:
    """A receiver, and what is logged of it."""

    behave: Behaviour
    says: str
    status: int | None = None
    within_seconds: float = 60.0
    """What the notifier gives it."""


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b"z" * 50_000_000)
SHORT = 0.5
NO_ANSWER = "no answer within 0.5 s"
NO_HTTP = "not valid HTTP, or its head is too large"
CUT = "(the rest was not read)"
BAD = {
    "silent": Bad(hangs, NO_ANSWER, within_seconds=SHORT),
    "a byte of the status at a time": Bad(drips(b"HTTP/1.1 200 O", b"K"), NO_ANSWER, within_seconds=SHORT),
    "a byte of a header at a time": Bad(drips(HEAD + b"x: ", b"a"), NO_ANSWER, within_seconds=SHORT),
    "a header at a time": Bad(drips(HEAD, b"x: 1\r\n"), NO_ANSWER, within_seconds=SHORT),
    "a byte of the body at a time": Bad(drips(HEAD + b"\r\n", b"b"), CUT, 200, SHORT),
    "a chunk at a time": Bad(drips(CHUNKED, b"1\r\nc\r\n"), CUT, 200, SHORT),
    "a huge body": Bad(Flood(HEAD + b"content-length: 1000000000000\r\n\r\n"), CUT, 200),
    "an endless body": Bad(Flood(HEAD + b"\r\n"), CUT, 200),
    "an endless body in chunks": Bad(Flood(CHUNKED, b"1000\r\n" + b"c" * 4096 + b"\r\n"), CUT, 200),
    "an endless error": Bad(Flood(b"HTTP/1.1 500 Oops\r\n\r\n"), "yyy", 500),
    "a compression bomb": Bad(answers(reply(BOMB, "content-encoding: gzip")), CUT, 200),
    "a huge header": Bad(answers(reply(b"", f"x: {'a' * 10_000}")), NO_HTTP),
    "too many headers": Bad(answers(reply(b"", *(f"x-{number}: 1" for number in range(1000)))), NO_HTTP),
    "an endless head": Bad(Flood(HEAD, b"x: " + b"a" * 1000 + b"\r\n"), NO_HTTP),
    "informational answers without end": Bad(Flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "did not answer"),
    "hangs up": Bad(answers(close=True), "closed the connection"),
    "hangs up in the head": Bad(answers(HEAD + b"x: 1\r\n", close=True), "closed the connection"),
    "resets": Bad(resets, "did not answer"),
    "hangs up in the body": Bad(answers(HEAD + b"content-length: 100\r\n\r\nsome", close=True), f"some {CUT}", 200),
    "resets in the body": Bad(resets_in_body, CUT, 200),
    "mail": Bad(answers(b"220 mail.example ESMTP\r\n\r\n", close=True), NO_HTTP),
    "no text": Bad(answers(bytes(range(256)) * 40, close=True), NO_HTTP),
    "NUL and control characters": Bad(answers(reply(b"a\x00b\x1b[31mc\xff\xfe", status="500 Oops")), "a", 500),
}


@pytest.fixture
async def notifier(database: ServiceDatabase, migrated: MigratedDatabase) -> AsyncIterator[NotifierUnderTest]:
    found = NotifierUnderTest(database, migrated.url_files["notifier"])
    yield found
    await found.close()


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_bad_answer_ends_in_words_and_others_get_theirs(
    notifier: NotifierUnderTest, receiver: HookReceiver, bad: Bad
) -> None:
    notifier.poster._within_seconds = bad.within_seconds
    async with raw_http_server(bad.behave) as double:
        endpoint = await notifier.add_endpoint(double.url())
        await notifier.add_endpoint(f"{receiver.url}/good")
        await notifier.intake.take([alert(1, rule_id=f"alr_{number}") for number in range(6)])
        async with notifier.sending():
            found = await first_outcome(notifier, endpoint.endpoint_id)
            await eventually("the other has all", lambda: len(receiver.bodies("/good")) == 6)
    assert found.answer is not None
    assert bad.says in found.answer
    assert found.status == bad.status
    assert len(found.answer) <= MAX_ANSWER
    assert found.answer.isprintable()
    assert (found.state is DeliveryState.DELIVERED) == (bad.status == 200)
    if isinstance(bad.behave, Flood):
        assert 0 < bad.behave.most < SOCKET_BYTES, "what nobody needs is not read"


async def test_receivers_that_never_end_delay_no_other(
    notifier: NotifierUnderTest, receiver: HookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bad ones are held until the good one has everything: it would never get it if it had to wait for any of them."""
    never = 3600.0
    monkeypatch.setattr(http_post, "_TIMEOUTS", Timeouts(never, never, never))
    monkeypatch.setattr(sender, "_DRAIN_SECONDS", 0.0)  # what hangs is given up at the end
    notifier.poster._within_seconds = never
    rules = [f"alr_{number}" for number in range(40)]
    slow = [hangs, drips(b"HTTP/1.1 200 O", b"K"), drips(HEAD, b"x"), drips(HEAD + b"\r\n", b"b")]
    async with AsyncExitStack() as running:
        doubles = [await running.enter_async_context(raw_http_server(behave)) for behave in slow]
        doubles.append(await running.enter_async_context(raw_http_server(hangs, reads=False)))
        bad = [await notifier.add_endpoint(each.url()) for each in doubles for _ in range(3)]
        await notifier.add_endpoint(f"{receiver.url}/good")
        await notifier.intake.take([alert(1, rule_id=rule) for rule in rules])
        async with notifier.sending(2):
            await eventually("the good one has all", lambda: len(receiver.bodies("/good")) == len(rules))
            for endpoint in bad:
                log = await log_of(notifier, endpoint.endpoint_id)
                assert {delivery.state for delivery in log} == {DeliveryState.PENDING}


async def test_those_that_take_long_leave_workers_to_others(
    notifier: NotifierUnderTest, receiver: HookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_MOST_WORKERS", 3)
    monkeypatch.setattr(sender, "_MOST_FAILING", 1)
    monkeypatch.setattr(sender, "_SLOW_MS", 1000)
    notifier.poster._within_seconds = 3600.0
    monkeypatch.setattr(http_post, "_TIMEOUTS", Timeouts(3600, 3600, 3600))
    done = asyncio.Event()
    rules = [f"alr_{number}" for number in range(12)]

    async def slow(hook: ReceivedHook) -> web.StreamResponse:
        """Take long at first, and then until the good one has everything."""
        if len(receiver.bodies(hook.path)) > 4:
            await done.wait()
        else:
            await asyncio.sleep(1.1)
        return web.Response()

    for number in range(6):
        receiver.answers[f"/slow{number}"] = slow
        await notifier.add_endpoint(f"{receiver.url}/slow{number}")
    await notifier.intake.take([alert(1, rule_id=rule) for rule in rules])
    async with notifier.sending():
        await eventually("three are served", lambda: len({hook.path for hook in receiver.received}) >= 3)
        await notifier.add_endpoint(f"{receiver.url}/good")
        await notifier.intake.take([alert(2, rule_id=rule) for rule in rules])
        await eventually("the good one has all", lambda: len(receiver.bodies("/good")) == len(rules))
        done.set()
        await eventually_async("all are delivered", lambda: all_finished(notifier))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_inside_is_not_followed_and_the_log_says_so(notifier: NotifierUnderTest, status: int) -> None:
    async with raw_http_server(answers(reply(b"secret"))) as inside:
        moved = answers(reply(b"", f"location: {inside.url('/metadata')}", status=f"{status} Moved"))
        async with raw_http_server(moved) as mover:
            endpoint = await notifier.add_endpoint(mover.url())
            await notifier.intake.take([alert()])
            async with notifier.sending():
                found = await first_outcome(notifier, endpoint.endpoint_id)
        assert inside.connections == 0
    assert (found.status, found.state) == (status, DeliveryState.PENDING)
    assert found.answer is not None
    assert f"it answered {status}, a redirect, which is not followed" in found.answer


async def test_a_name_rebound_to_an_internal_address_gets_nothing_there(
    database: ServiceDatabase, migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_DNS_CACHE_SECONDS", -1)
    lookup, queries = answering(["127.0.0.2"], ["127.0.0.1"])
    notifier = NotifierUnderTest(database, migrated.url_files["notifier"], lookup=lookup, allow=GOOD_ALLOWED)
    async with good_and_bad(close=True) as (good, bad):
        endpoint = await notifier.add_endpoint(f"http://rebinding.example:{good.port}/hook")
        async with notifier.sending():
            await notifier.intake.take([alert(1)])
            await eventually_async("the first is delivered", lambda: all_finished(notifier))
            await notifier.intake.take([alert(2)])

            async def refused() -> bool:
                return (await log_of(notifier, endpoint.endpoint_id))[0].answer is not None

            await eventually_async("the second is refused", refused)
        assert (len(good.requests), bad.connections) == (1, 0)
    assert queries() >= 2
    second, first = await log_of(notifier, endpoint.endpoint_id)
    assert (first.state, first.answer) == (DeliveryState.DELIVERED, "good")
    assert (second.state, second.status) == (DeliveryState.PENDING, None)
    assert second.answer is not None
    assert "at an address that this gateway does not call" in second.answer
    assert "127.0.0.1" not in second.answer
    await notifier.close()


async def test_a_defect_ends_in_words_and_holds_up_no_other(
    notifier: NotifierUnderTest, receiver: HookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await notifier.add_endpoint(f"{receiver.url}/hook")
    await notifier.add_endpoint(f"{receiver.url}/good")
    find = notifier.secrets.get

    async def broken(tenant: str, kind: object, secret_id: str | None = None) -> object:
        if secret_id == endpoint.secret_id:
            raise RuntimeError("a defect")
        return await find(tenant, kind, secret_id)  # type: ignore[arg-type]

    monkeypatch.setattr(notifier.secrets, "get", broken)
    await notifier.intake.take([alert(1)])
    async with notifier.sending():
        found = await first_outcome(notifier, endpoint.endpoint_id)
        assert found.answer == sender._DEFECT
        await eventually("the other has it", lambda: receiver.bodies("/good"))
        monkeypatch.undo()
        notifier.clock.pass_by(minutes=1)
        await eventually_async("all are delivered", lambda: all_finished(notifier))
    assert len(receiver.bodies("/hook")) == 1
