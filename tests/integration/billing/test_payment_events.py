"""Events of payments and credits on the bus: they survive a kill of the server, and an upgrade loses and doubles none."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy import text

from deploy.nats.provision import consumer_config, provision, stream_config
from keyferry.contracts.channels import AnySubject
from keyferry.contracts.payment_management import CREDIT_POSTED, PAYMENT_CHANGED, PAYMENTS
from keyferry.contracts.payments import CreditPosted, PaymentChanged
from keyferry.contracts.topology import CONSUMERS, HEALTH_CHANGED, KEY_CHANGED, STREAMS, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.concurrency import Send
from keyferry.runtime.database.event_outbox import EventRelay
from keyferry.runtime.database.service_database import ServiceDatabase
from tests.integration.cli.answering import process
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus
from tests.support.waiting import eventually, eventually_async

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def payment(number: int) -> PaymentChanged:
    return PaymentChanged.model_validate(
        {
            "event_id": f"pev_{number}",
            "tenant": "acme",
            "change": "settled",
            "payment_id": f"pi_{number}",
            "credits": "1",
            "amount_minor": 100,
            "currency": "usd",
            "at": NOW,
        }
    )


def credit(number: int) -> CreditPosted:
    return CreditPosted.model_validate(
        {
            "event_id": f"cev_{number}",
            "tenant": "acme",
            "kind": "purchase",
            "credits": "1",
            "balance": "1",
            "owed": "0",
            "at": NOW,
        }
    )


class Reader:
    """Keeps the ids of the events that a role gets."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def take(self, batch: list[Msg]) -> None:
        for message in batch:
            body = orjson.loads(message.data)
            self.ids.append(body["event_id"])


def billing_reads(reader: Reader) -> Callable[[Bus], None]:
    """Return what the billing declares to read payments."""

    def declare(bus: Bus) -> None:
        bus.pull(PAYMENT_CHANGED, reader.take)
        bus.pull_rest(PAYMENT_CHANGED, reader.take)

    return declare


def notifier_reads(reader: Reader) -> Callable[[Bus], None]:
    """Return what the notifier declares to read changes."""

    def declare(bus: Bus) -> None:
        bus.pull(KEY_CHANGED, reader.take, HEALTH_CHANGED)
        bus.pull(PAYMENT_CHANGED, reader.take, CREDIT_POSTED)

    return declare


async def publish(client: Client, events: Iterable[PaymentChanged] | Iterable[CreditPosted]) -> None:
    for event in events:
        subject: AnySubject = PAYMENT_CHANGED if isinstance(event, PaymentChanged) else CREDIT_POSTED
        headers = {"Nats-Msg-Id": event.event_id}
        await client.jetstream().publish(subject.address(event), event.encode(), timeout=10, headers=headers)


async def test_a_published_payment_survives_a_kill_of_the_bus(
    tmp_path: Path, billing_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed at once when it has acknowledged the last event, which the outbox then deletes."""
    events = [payment(number) for number in range(40)]
    acknowledged: list[str] = []
    reader = Reader()
    send = EventRelay._send

    def send_and_kill(relay: EventRelay, subject: str, message_id: str, payload: bytes) -> Send:
        publish_one = send(relay, subject, message_id, payload)

        async def publish_and_kill() -> None:
            await publish_one()
            acknowledged.append(message_id)
            if len(acknowledged) == len(events):
                bus.server.kill()

        return publish_and_kill

    monkeypatch.setattr(EventRelay, "_send", send_and_kill)
    async with provisioned_bus(tmp_path) as bus:
        async with bus.connected(Role.BILLING) as billing:
            await billing_database.open(billing)
            async with billing_database.change() as change:
                for event in events:
                    await change.publish(PAYMENT_CHANGED.address(event), event.event_id, event.encode())

            async def published() -> bool:
                async with billing_database.read() as connection:
                    waiting = await connection.scalar(text("SELECT count(*) FROM billing.event_outbox"))
                    return bool(waiting == 0)

            await eventually_async("every event is acknowledged", published)
            await eventually("the connection is gone", lambda: not billing.client.is_connected)
            bus.server.restart()
            await eventually("it is connected again", lambda: billing.client.is_connected)
            await billing_database.close()
        async with process(bus, Role.BILLING, billing_reads(reader)):
            await eventually("every event is read", lambda: len(reader.ids) >= len(events))
    assert sorted(reader.ids) == sorted(event.event_id for event in events)


@asynccontextmanager
async def former_build(bus: ProvisionedBus) -> AsyncIterator[Client]:
    """Bring the streams into the state of the build that had payments among the changes. Yield a provisioner."""
    (changes,) = (stream for stream in STREAMS if stream.name == "CHANGES")
    async with bus.client(Role.PROVISIONER) as client:
        await _ask(client, f"STREAM.DELETE.{PAYMENTS.name}", {})
        config = stream_config(changes)
        config["subjects"] += [CREDIT_POSTED.pattern(), PAYMENT_CHANGED.pattern()]
        await _ask(client, "STREAM.UPDATE.CHANGES", config)
        for consumer in (each for each in CONSUMERS if each.stream == "CHANGES"):
            wanted = {"stream_name": "CHANGES", "config": consumer_config(consumer)}
            await _ask(client, f"CONSUMER.DURABLE.CREATE.CHANGES.{consumer.durable}", wanted)
        yield client


async def _ask(client: Client, verb: str, body: object) -> None:
    reply = await client.request(f"$JS.API.{verb}", orjson.dumps(body), timeout=10)
    assert b'"error"' not in reply.data, reply.data


async def test_an_upgrade_loses_and_doubles_no_event_of_the_former_build(tmp_path: Path) -> None:
    """Processes of the former build read on from the stream of changes until they are replaced."""
    readers = {Role.BILLING: Reader(), Role.NOTIFIER: Reader()}

    def former(role: Role) -> Callable[[Bus], None]:
        """Return what the former build declares: one consumer, of the stream of changes."""
        return lambda bus: bus.pull(KEY_CHANGED, readers[role].take)

    def read_by(role: Role, payments: int, credited: int) -> bool:
        wanted = {f"pev_{number}" for number in range(payments)}
        if role is Role.NOTIFIER:
            wanted |= {f"cev_{number}" for number in range(credited)}
        return sorted(readers[role].ids) == sorted(wanted)

    async with (
        provisioned_bus(tmp_path) as bus,
        former_build(bus),
        bus.client(Role.BILLING) as billing,
        bus.client(Role.USAGE_LEDGER) as ledger,
    ):
        async with (
            process(bus, Role.BILLING, former(Role.BILLING)),
            process(bus, Role.NOTIFIER, former(Role.NOTIFIER)),
        ):
            await publish(billing, [payment(0)])
            await publish(ledger, [credit(0)])
            await eventually("the former build reads", lambda: all(read_by(role, 1, 1) for role in readers))
        await publish(billing, [payment(1), payment(2)])
        await publish(ledger, [credit(1)])
        await asyncio.wait_for(provision(bus.nats_url, bus.seed_file(Role.PROVISIONER)), 30)
        await publish(billing, [payment(3)])  # by the former build as well: it knows subjects, not streams
        await publish(ledger, [credit(2)])
        async with (
            process(bus, Role.BILLING, former(Role.BILLING)),
            process(bus, Role.NOTIFIER, former(Role.NOTIFIER)),
        ):
            await eventually("it reads what is left there", lambda: all(read_by(role, 3, 2) for role in readers))
        async with (
            process(bus, Role.BILLING, billing_reads(readers[Role.BILLING])),
            process(bus, Role.NOTIFIER, notifier_reads(readers[Role.NOTIFIER])),
        ):
            await publish(billing, [payment(4)])
            await eventually("this build reads the rest", lambda: all(read_by(role, 5, 3) for role in readers))


async def test_this_build_reads_what_the_former_one_left(tmp_path: Path) -> None:
    billing_reader, notifier_reader = Reader(), Reader()
    async with provisioned_bus(tmp_path) as bus, former_build(bus):
        async with bus.client(Role.BILLING) as billing, bus.client(Role.USAGE_LEDGER) as ledger:
            await publish(billing, [payment(0), payment(1)])
            await publish(ledger, [credit(0)])
            await provision(bus.nats_url, bus.seed_file(Role.PROVISIONER))
            await publish(billing, [payment(2)])
        bus.server.kill()
        bus.server.restart()
        async with (
            process(bus, Role.BILLING, billing_reads(billing_reader)),
            process(bus, Role.NOTIFIER, notifier_reads(notifier_reader)),
        ):
            await eventually("the billing reads all", lambda: len(billing_reader.ids) >= 3)
            await eventually("the notifier reads all", lambda: len(notifier_reader.ids) >= 4)
    assert sorted(billing_reader.ids) == ["pev_0", "pev_1", "pev_2"]
    assert sorted(notifier_reader.ids) == ["cev_0", "pev_0", "pev_1", "pev_2"]
