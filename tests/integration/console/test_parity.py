"""The scripted bus of the unit tests and the real one behave the same."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from keyferry.contracts.envelope import Message
from keyferry.contracts.key import EditKey, KeyTest, KeyTestResult, TryKey
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.topology import KEY_EDIT, KEY_TRY, AnySubject, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.process.settings import ServiceSettings
from services.console.service_client import Ask
from tests.integration.cli.answering import owner
from tests.support.servers.provisioned_bus import provisioned_bus
from tests.support.servers.scripted_bus import ScriptedBus
from tests.unit.console.surface import NOW, stored

SECONDS = 10.0
EDIT = EditKey(tenant="acme", key_id="key_0001", label="ß", weight=7)
CHECK = KeyTest(result=KeyTestResult.VALID, steps=[], duration_ms=1, tested_at=NOW)


class Stage(Protocol):
    """One of the two buses."""

    ask: Ask

    async def answers(self, subject: AnySubject, asked: type[Message], answer: Message | Refusal) -> list[Message]:
        """Answer `subject` with `answer` from now on; return the list that collects the requests."""


class Scripted:
    def __init__(self) -> None:
        self._bus = ScriptedBus()
        self.ask: Ask = self._bus.ask

    async def answers(self, subject: AnySubject, asked: type[Message], answer: Message | Refusal) -> list[Message]:
        read: list[Message] = []

        def reply(request: Message) -> Message | Refusal:
            read.append(request)
            return answer

        self._bus.answers(subject, reply)
        return read


class Real:
    """A real bus with the users of the console and the vault."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack

    async def open(self) -> None:
        self._installation = await self._stack.enter_async_context(provisioned_bus(self._folder))
        seed = self._installation.seed_file(Role.CONSOLE)
        bus = Bus(Role.CONSOLE, ServiceSettings(nats_url=self._installation.nats_url, nats_nkey_file=seed))
        await bus.connect()
        self._stack.push_async_callback(bus.broker.stop)
        self.ask: Ask = bus.ask

    async def answers(self, subject: AnySubject, asked: type[Message], answer: Message | Refusal) -> list[Message]:
        read: list[Message] = []

        async def reply(request: Message) -> Message:
            read.append(request)
            if isinstance(answer, Refusal):
                raise Refused(answer.code, answer.message)
            return answer

        await self._stack.enter_async_context(owner(self._installation, Role.KEY_VAULT, subject, reply))
        return read


@pytest.fixture(params=["scripted", "real"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    if request.param == "scripted":
        yield Scripted()
        return
    async with AsyncExitStack() as stack:
        real = Real(tmp_path, stack)
        await real.open()
        yield real


async def test_an_answer(stage: Stage) -> None:
    read = await stage.answers(KEY_EDIT, EditKey, stored(spent_usd="0.000000000001"))
    assert await stage.ask(KEY_EDIT, EDIT, timeout_seconds=SECONDS) == stored(spent_usd="0.000000000001")
    assert read == [EDIT]


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_a_refusal(stage: Stage, code: ErrorCode) -> None:
    await stage.answers(KEY_EDIT, EditKey, Refusal(code=code, message="no, because"))
    with pytest.raises(Refused, match="no, because") as refused:
        await stage.ask(KEY_EDIT, EDIT, timeout_seconds=SECONDS)
    assert refused.value.refusal == Refusal(code=code, message="no, because")


async def test_nobody(stage: Stage) -> None:
    await stage.answers(KEY_EDIT, EditKey, stored())
    request = TryKey(tenant="acme", provider="openai", sealed="AAAA")
    with pytest.raises(
        BusError, match=r"nobody answers key\.try: is key-vault running\? `keyferry doctor` shows the cause"
    ):
        await stage.ask(KEY_TRY, request, timeout_seconds=SECONDS)
    await stage.answers(KEY_TRY, TryKey, CHECK)
    assert await stage.ask(KEY_TRY, request, timeout_seconds=SECONDS) == CHECK
