"""Mail servers and chats that hang, drop the connection or answer garbage: each attempt ends in words, and delays no other."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
import pytest

from keyferry.contracts.webhooks import DeliveryState, NotificationDelivery
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.mail import smtp
from services.notifier.settings import SmtpSecurity
from tests.integration.notifier.log import first_outcome, log_of
from tests.integration.notifier.receiver import HookReceiver, answering
from tests.integration.notifier.system import NotifierUnderTest, alert
from tests.integration.notifier.test_delivery import owner
from tests.support.providers.raw_http_server import Behaviour, answers, hangs, raw_http_server, reply
from tests.support.servers.migrated_database import MigratedDatabase
from tests.support.waiting import eventually

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO, OK = b"220 mail ESMTP\r\n", b"250 OK\r\n"
SHORT = 0.5
SOCKET_BYTES = 24_000_000


def says(*lines: bytes, then: bytes | None = None) -> Talk:
    """Return a server that answers each command with the next line, and the last with `then`, or hangs up instead."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            writer.write(line)
            await writer.drain()
            if line.startswith(b"354"):
                await reader.readuntil(b"\r\n.\r\n")
            else:
                await reader.readline()
        if then is not None:
            writer.write(then)
            await writer.drain()
            await reader.read()

    return talk


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing."""
    await reader.read()


async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take no sender for now."""
    writer.write(HELLO)
    while command := await reader.readline():
        writer.write(b"451 later\r\n" if command.startswith(b"MAIL") else OK)


def flood(line: bytes) -> Talk:
    """Return a server that says one thing without end, as long as somebody takes it."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _number in range(SOCKET_BYTES // len(line)):
            writer.write(line)
            await writer.drain()
        raise AssertionError("the notifier reads without end")

    return talk


@asynccontextmanager
async def mail_server(talk: Talk) -> AsyncIterator[int]:
    """Run a server; yield its port. It fails the test if one of its conversations fails otherwise than by a hang-up."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except AssertionError as error:
            failures.append(str(error))
        finally:
            writer.close()

    failures: list[str] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert failures == []


@dataclass(frozen=True)
class BadMail:
    """A mail server, and what is logged of it."""

    talk: Talk
    answer: str
    status: int | None = None


UNREADABLE = "does not answer as SMTP has it"
TIMED_OUT = "cannot be used: SMTP"
BROKEN = "cannot be used: SMTPServerDisconnected"
BAD = {
    "silent": BadMail(silent, TIMED_OUT),
    "silent after its greeting": BadMail(says(HELLO, then=b""), TIMED_OUT),
    "silent after the recipient": BadMail(says(HELLO, OK, OK, then=b""), TIMED_OUT),
    "silent after the message": BadMail(says(HELLO, OK, OK, OK, b"354 go\r\n", then=b""), TIMED_OUT),
    "hangs up": BadMail(says(), "cannot be used"),
    "hangs up after its greeting": BadMail(says(HELLO), BROKEN),
    "hangs up after the recipient": BadMail(says(HELLO, OK, OK, OK), BROKEN),
    "hangs up after the message": BadMail(says(HELLO, OK, OK, OK, b"354 go\r\n"), BROKEN),
    "speaks HTTP": BadMail(says(b"HTTP/1.1 400 Bad Request\r\n\r\n", then=b""), UNREADABLE),
    "greets with garbage": BadMail(says(b"\x00\xff\xfe\x1b[31m\r\n", then=b""), UNREADABLE),
    "answers garbage": BadMail(says(HELLO, b"\xff\xfe\x00 what?\r\n", then=b""), UNREADABLE),
    "garbage after the message": BadMail(
        says(HELLO, OK, OK, OK, b"354 go\r\n", b"lorem ipsum\r\n", OK, then=b""), UNREADABLE
    ),
    "a code that is none": BadMail(says(HELLO, OK, b"-42 no\r\n", then=b""), "no"),
    "one line without end": BadMail(flood(b"2" * 64 * 1024), UNREADABLE),
    "lines without end": BadMail(flood(b"250-more\r\n" * 1000), UNREADABLE),
    "refuses for now": BadMail(refuses, "example.com: 451 later", 451),
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_STEP_SECONDS", SHORT)


@asynccontextmanager
async def sending_mail_to(
    port: int, database: ServiceDatabase, migrated: MigratedDatabase
) -> AsyncIterator[tuple[NotifierUnderTest, str]]:
    """Run a notifier with this mail server, and a channel of two addresses. Yield it with the channel's id."""
    notifier = NotifierUnderTest(database, migrated.url_files["notifier"], smtp_port=port)
    notifier.be_members("acme", owner("ops@example.com"), owner("other@example.com"))
    channel = await notifier.add_channel(recipients=["ops@example.com", "other@example.com"])
    yield notifier, channel.channel_id
    await notifier.close()


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_bad_mail_server_ends_in_words_and_others_get_theirs(
    database: ServiceDatabase, migrated: MigratedDatabase, receiver: HookReceiver, bad: BadMail
) -> None:
    async with mail_server(bad.talk) as port, sending_mail_to(port, database, migrated) as (notifier, channel_id):
        await notifier.add_endpoint(f"{receiver.url}/good")
        await notifier.intake.take([alert(1, rule_id=f"alr_{number}") for number in range(6)])
        async with notifier.sending():
            found = await first_outcome(notifier, channel_id)
            await eventually("the other has all", lambda: len(receiver.bodies("/good")) == 6)
    check(found, bad.answer, bad.status)


async def test_a_mail_server_that_stops_after_one_message_gets_each_to_its_recipient_at_last(
    database: ServiceDatabase, migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection takes one mail, so that no attempt succeeds; whose it is changes."""
    monkeypatch.setattr(smtp, "random", random.Random(0))  # with which the second attempt begins with the other
    taken: list[bytes] = []

    async def takes_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        while (command := await reader.readline()) != b"DATA\r\n":
            if command.startswith(b"RCPT"):
                taken.append(command)
            writer.write(OK)
        writer.write(b"354 go\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(OK)
        await writer.drain()

    async with mail_server(takes_one) as port, sending_mail_to(port, database, migrated) as (notifier, channel_id):
        await notifier.intake.take([alert(1)])
        async with notifier.sending():
            found = await first_outcome(notifier, channel_id)

            def every_recipient() -> bool:
                notifier.clock.pass_by(minutes=1)
                return len(set(taken)) == 2

            await eventually("both have it", every_recipient)
    check(found, "it had taken the mail for 1 of 2 recipients", None)


async def test_a_mail_server_that_never_answers_delays_no_other(
    database: ServiceDatabase, migrated: MigratedDatabase, receiver: HookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "_STEP_SECONDS", 3600.0)
    monkeypatch.setattr(smtp, "MAIL_SECONDS", 3600.0)
    connected = asyncio.Event()
    over = asyncio.Event()

    async def holds(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        connected.set()
        await over.wait()

    async with mail_server(holds) as port, sending_mail_to(port, database, migrated) as (notifier, channel_id):
        await notifier.add_endpoint(f"{receiver.url}/good")
        async with notifier.sending():
            await notifier.intake.take([alert(1)])
            await asyncio.wait_for(connected.wait(), 30)
            await notifier.intake.take([alert(1, rule_id=f"alr_{number}") for number in range(40)])
            await eventually("the other has all", lambda: len(receiver.bodies("/good")) == 41)
            assert {each.answer for each in await log_of(notifier, channel_id)} == {None}
            over.set()
            check(await first_outcome(notifier, channel_id), "cannot be used", None)


def begins_tls(then: bytes) -> Talk:
    """Return a server that agrees to TLS, and says `then` instead of its part of the handshake."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in (HELLO, b"250-mail\r\n250 STARTTLS\r\n"):
            writer.write(line)
            await reader.readline()
        writer.write(b"220 go\r\n")
        await reader.read(1)  # of the client's part
        writer.write(then)
        await reader.read()

    return talk


BAD_TLS = {
    "a silent handshake": (begins_tls(b""), SmtpSecurity.STARTTLS),
    "a handshake of garbage": (begins_tls(b"what?\r\n" * 100), SmtpSecurity.STARTTLS),
    "no TLS": (says(HELLO, OK, OK, then=b""), SmtpSecurity.STARTTLS),
    "a silent handshake at first": (silent, SmtpSecurity.IMPLICIT),
    "no TLS where it is expected": (says(HELLO, then=b""), SmtpSecurity.IMPLICIT),
}


@pytest.mark.parametrize(("talk", "security"), BAD_TLS.values(), ids=BAD_TLS)
async def test_a_mail_server_without_usable_tls_gets_no_mail_and_the_log_says_so(
    database: ServiceDatabase, migrated: MigratedDatabase, talk: Talk, security: SmtpSecurity
) -> None:
    async with mail_server(talk) as port:
        notifier = NotifierUnderTest(database, migrated.url_files["notifier"], smtp_port=port, smtp_tls=security)
        notifier.be_members("acme", owner("ops@example.com"))
        channel = await notifier.add_channel()
        await notifier.intake.take([alert(1)])
        async with notifier.sending():
            check(await first_outcome(notifier, channel.channel_id), "the mail server cannot be used", None)
        await notifier.close()


BAD_CHATS: dict[str, tuple[Behaviour, str, int | None]] = {
    "silent": (hangs, "no answer within 0.5 s", None),
    "hangs up": (answers(close=True), "closed the connection", None),
    "garbage": (answers(b"250 what\r\n\r\n", close=True), "not valid HTTP", None),
    "an error": (answers(reply(b"invalid_payload", status="400 Bad Request")), "invalid_payload", 400),
}


@pytest.mark.parametrize(("behave", "answer", "status"), BAD_CHATS.values(), ids=BAD_CHATS)
async def test_a_bad_chat_ends_in_words_without_its_address(
    database: ServiceDatabase,
    migrated: MigratedDatabase,
    receiver: HookReceiver,
    behave: Behaviour,
    answer: str,
    status: int | None,
) -> None:
    within_seconds = SHORT if behave is hangs else 60.0
    notifier = NotifierUnderTest(database, migrated.url_files["notifier"], post_seconds=within_seconds)
    async with raw_http_server(behave) as chat:
        notifier.secrets.put("isec_chat", chat.url("/services/T0/B0/very-secret"))
        channel = await notifier.add_channel(kind="slack", recipients=None, secret_id="isec_chat")
        await notifier.add_endpoint(f"{receiver.url}/good")
        await notifier.intake.take([alert(1)])
        async with notifier.sending():
            found = await first_outcome(notifier, channel.channel_id)
            await eventually("the other has it", lambda: receiver.bodies("/good"))
        assert orjson.loads(chat.requests[0].body).keys() == {"text"}
    await notifier.close()
    check(found, answer, status)
    assert "very-secret" not in str(found)


async def test_a_chat_that_is_gone_is_switched_off_and_the_owners_are_notified(
    database: ServiceDatabase, migrated: MigratedDatabase, receiver: HookReceiver
) -> None:
    notifier = NotifierUnderTest(database, migrated.url_files["notifier"])
    receiver.answers["/chat"] = answering(410, "channel_is_archived")
    notifier.secrets.put("isec_chat", f"{receiver.url}/chat")
    channel = await notifier.add_channel(kind="slack", recipients=None, secret_id="isec_chat")
    await notifier.intake.take([alert(1)])
    async with notifier.sending():
        found = await first_outcome(notifier, channel.channel_id)
    assert (found.status, found.answer) == (410, "channel_is_archived")
    assert not (await notifier.channels.get("acme", channel.channel_id)).enabled
    async with notifier.database.read() as connection:
        waiting = await connection.exec_driver_sql(
            "SELECT target_id, event_type FROM notifier.deliveries WHERE finished_at IS NULL AND target_id LIKE 'owners:%%'"
        )
        assert [tuple(row) for row in waiting] == [("owners:acme", "target.switched_off")]
    await notifier.close()


def check(found: NotificationDelivery, answer: str, status: int | None) -> None:
    """Check what is logged of an attempt that failed."""
    assert found.answer is not None
    assert answer in found.answer
    assert found.answer.isprintable()
    assert (found.state, found.status) == (DeliveryState.PENDING, status)
