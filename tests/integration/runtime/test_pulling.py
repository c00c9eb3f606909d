"""A batch that takes long stays with the process that handles it, and one that hangs goes to another."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig

from keyferry.contracts.channels import Consumer
from keyferry.contracts.topology import Role
from keyferry.runtime.bus import pulling
from keyferry.runtime.bus.pulling import Puller
from tests.support.servers.nats import NatsServer, nats_server
from tests.support.waiting import eventually

CONSUMER = Consumer(stream="WORK", subscriber=Role.USAGE_LEDGER)
ACK_WAIT_SECONDS = 3.0


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with nats_server() as started:
        yield started


@pytest.fixture
async def client(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(pulling, "_PROGRESS_SECONDS", ACK_WAIT_SECONDS / 10)
    monkeypatch.setattr(pulling, "_MOST_REPORTS", 1000)
    connection = await nats.connect(server.url)
    jetstream = connection.jetstream()
    await jetstream.add_stream(name="WORK", subjects=["work"])
    config = ConsumerConfig(durable_name=CONSUMER.durable, ack_policy="explicit", ack_wait=ACK_WAIT_SECONDS)  # type: ignore[arg-type]
    await jetstream.add_consumer("WORK", config)
    yield connection
    await jetstream.delete_stream("WORK")
    await connection.close()


class Process:
    """One of the processes that share a consumer. It handles nothing until `go_on`."""

    def __init__(self, connection: Client) -> None:
        self.got: list[bytes] = []
        self.go_on = asyncio.Event()
        self.puller = Puller(CONSUMER, self._handle, _start)
        self.puller.start(connection.jetstream())

    async def _handle(self, batch: list[Msg]) -> None:
        self.got += [message.data for message in batch]
        await self.go_on.wait()


def _start(work: Awaitable[None]) -> asyncio.Task[None]:
    return asyncio.ensure_future(work)


async def count_reports(connection: Client) -> Callable[[], int]:
    reports: list[bytes] = []

    async def on_acknowledgement(message: Msg) -> None:
        if message.data == b"+WPI":
            reports.append(message.data)

    await connection.subscribe("$JS.ACK.WORK.>", cb=on_acknowledgement)
    return lambda: len(reports)


async def test_a_batch_that_takes_longer_than_the_server_waits_comes_once(client: Client) -> None:
    reports = await count_reports(client)
    slow = Process(client)
    await client.jetstream().publish("work", b"1")
    await eventually("the batch", lambda: slow.got)
    other = Process(client)
    other.go_on.set()
    await eventually("reports for twice as long as the server waits", lambda: reports() >= 21)
    assert not other.got
    slow.go_on.set()
    await client.jetstream().publish("work", b"2")
    await eventually("what comes next", lambda: b"2" in slow.got + other.got)
    assert slow.got + other.got == [b"1", b"2"]
    for process in (slow, other):
        await process.puller.stop()


async def test_many_large_messages_do_not_overrun_the_connection(client: Client, server: NatsServer) -> None:
    """The server closes a connection that has 64 MB before it; what was on its way would come again after its wait."""
    for number in range(300):
        await client.jetstream().publish("work", str(number).encode().rjust(500_000))
    reader = await nats.connect(server.url)
    process = Process(reader)
    process.go_on.set()
    await eventually("all messages", lambda: len(process.got) >= 300)
    assert sorted(int(data) for data in process.got) == list(range(300))
    assert reader.stats["reconnects"] == 0
    await process.puller.stop()
    await reader.close()


async def test_a_batch_that_hangs_goes_to_another_process(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "_MOST_REPORTS", 3)
    hanging = Process(client)
    await client.jetstream().publish("work", b"1")
    await eventually("the batch", lambda: hanging.got)
    other = Process(client)
    other.go_on.set()
    await eventually("the batch, again", lambda: other.got)
    hanging.go_on.set()
    for process in (hanging, other):
        await process.puller.stop()
