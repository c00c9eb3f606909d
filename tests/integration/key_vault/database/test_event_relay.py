"""Relay of events from the tables to their streams: in order and once, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from sqlalchemy.ext.asyncio import AsyncTransaction

from keyferry.contracts.audit import AuditEvent, AuditOutcome, UncountedAuditEvent
from keyferry.contracts.key import KeyChange, KeyChanged
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.database.event_outbox import EventRelay, enqueue_event
from services.key_vault.database.tables import audit_sequence, event_outbox
from services.key_vault.database.transaction import Act
from tests.integration.key_vault.vault_database import CREATED_AT, VaultDatabase
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

NEVER_SECONDS = 3600.0


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    (tmp_path / "bus").mkdir()
    async with provisioned_bus(tmp_path / "bus") as bus:
        yield bus


@asynccontextmanager
async def relaying(
    vault: VaultDatabase, client: Client, poll_seconds: float = NEVER_SECONDS
) -> AsyncIterator[EventRelay]:
    relay = EventRelay(vault.engine, event_outbox, audit_sequence, client.jetstream, poll_seconds=poll_seconds)
    relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


async def eventually(what: str, condition: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  # a condition of any kind has no event to wait for
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


def waiting(vault: VaultDatabase) -> int:
    return len(vault.rows("SELECT id FROM key_vault.event_outbox"))


async def stored(bus: ProvisionedBus, stream: str) -> list[bytes]:
    """Return everything in a stream, in order."""
    async with bus.client(Role.PROVISIONER) as client:
        jetstream = client.jetstream()
        last = (await jetstream.stream_info(stream)).state.last_seq
        messages = [await jetstream.get_msg(stream, seq) for seq in range(1, last + 1)]
    return [message.data or b"" for message in messages]


async def audit(bus: ProvisionedBus) -> list[AuditEvent]:
    return [AuditEvent.decode(data) for data in await stored(bus, "AUDIT")]


def numbers(vault: VaultDatabase) -> list[object]:
    return [row["sequence"] for row in vault.rows("SELECT sequence FROM key_vault.event_outbox ORDER BY id")]


@asynccontextmanager
async def outliving(bus: ProvisionedBus) -> AsyncIterator[Client]:
    """Connect as the vault, waiting for an unavailable server."""
    client = await nats.connect(
        bus.nats_url,
        nkeys_seed_str=bus.seed_file(Role.KEY_VAULT).read_text(),
        inbox_prefix=b"_INBOX_key-vault",
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
        pending_size=0,
        error_cb=_ignore,
    )
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def writing(vault: VaultDatabase, target: str) -> AsyncIterator[AsyncTransaction]:
    """Write an act without committing it."""
    event = UncountedAuditEvent(
        event_id=f"aud_{target}",
        service=Role.KEY_VAULT.value,
        tenant="acme",
        actor="operator",
        action="key.list",
        target=target,
        outcome=AuditOutcome.DONE,
        at=CREATED_AT,
    )
    subject = AUDIT_RECORDED.format(service=Role.KEY_VAULT.value)
    async with vault.engine.connect() as connection, connection.begin() as transaction:
        await enqueue_event(connection, event_outbox, subject, event.event_id, event.encode(), counted=True)
        yield transaction


async def act(vault: VaultDatabase, number: int) -> None:
    await vault.stores.database.audit(Act("operator", "key.list", "acme", f"target-{number}"))


async def test_committed_events_are_published_when_the_relay_wakes(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    async with bus.client(Role.KEY_VAULT) as client, relaying(vault, client) as relay:
        await eventually("it publishes", lambda: relay.synced)
        key, _ = await vault.add("acme")
        relay.wake()
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    (changed,) = [KeyChanged.decode(data) for data in await stored(bus, "CHANGES")]
    assert (changed.key_id, changed.change) == (key.key_id, KeyChange.ADDED)
    assert [(event.sequence, event.action, event.target) for event in await audit(bus)] == [(1, "key.add", key.key_id)]


async def test_relay_polls_without_being_woken(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    async with bus.client(Role.KEY_VAULT) as client, relaying(vault, client, poll_seconds=0.05):
        await act(vault, 1)
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    assert len(await audit(bus)) == 1


async def test_concurrent_events_are_numbered_without_gaps(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    acts = 2000
    async with bus.client(Role.KEY_VAULT) as client, relaying(vault, client, poll_seconds=0.01):
        await asyncio.gather(*(act(vault, number) for number in range(acts)))
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    events = await audit(bus)
    assert [event.sequence for event in events] == list(range(1, acts + 1))
    assert {event.target for event in events} == {f"target-{number}" for number in range(acts)}


async def test_rolled_back_act_leaves_no_gap(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    async with bus.client(Role.KEY_VAULT) as client, relaying(vault, client, poll_seconds=0.01):
        for number in range(3):
            async with writing(vault, f"lost-{number}") as transaction:
                await transaction.rollback()
            await act(vault, number)
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    assert [event.sequence for event in await audit(bus)] == [1, 2, 3]


async def test_numbers_follow_the_order_of_commits(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    async with bus.client(Role.KEY_VAULT) as client, relaying(vault, client, poll_seconds=0.01):
        async with writing(vault, "slow") as transaction:
            await act(vault, 1)
            await eventually("the younger one is published", lambda: waiting(vault) == 0)
            await transaction.commit()
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    assert [(event.sequence, event.target) for event in await audit(bus)] == [(1, "target-1"), (2, "slow")]


async def test_numbers_assigned_before_a_crash_stay(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    for number in range(5):
        await act(vault, number)
    async with outliving(bus) as client:
        bus.server.kill()
        async with relaying(vault, client, poll_seconds=0.01):
            await eventually("they are numbered", lambda: numbers(vault) == [1, 2, 3, 4, 5])
        await act(vault, 5)
        given = vault.rows("SELECT message_id, sequence FROM key_vault.event_outbox WHERE sequence IS NOT NULL")
        await asyncio.to_thread(bus.server.restart)
        async with relaying(vault, client, poll_seconds=0.01):
            await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    events = await audit(bus)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert {event.event_id: event.sequence for event in events[:5]} == {
        row["message_id"]: row["sequence"] for row in given
    }


async def test_crash_between_publishing_and_deleting_repeats_nothing(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    async with bus.client(Role.KEY_VAULT) as client:
        for number in range(5):
            await act(vault, number)
        # The rows as they are between the two: the relay has numbered them, and may not remove them.
        vault.execute("CREATE TABLE key_vault.kept AS SELECT * FROM key_vault.event_outbox WITH NO DATA")
        vault.execute("ALTER TABLE key_vault.event_outbox ALTER id SET GENERATED BY DEFAULT")
        vault.execute(
            "CREATE RULE keep AS ON DELETE TO key_vault.event_outbox DO ALSO INSERT INTO key_vault.kept SELECT OLD.*"
        )
        async with relaying(vault, client, poll_seconds=0.01):
            await eventually("the outbox is empty", lambda: waiting(vault) == 0)
            vault.execute("INSERT INTO key_vault.event_outbox SELECT * FROM key_vault.kept")
            await eventually("the outbox is empty again", lambda: waiting(vault) == 0)
            await act(vault, 5)
            await eventually("the next one is published", lambda: waiting(vault) == 0)
    assert [event.sequence for event in await audit(bus)] == [1, 2, 3, 4, 5, 6]


async def test_a_backlog_of_several_batches_is_published_oldest_first(
    vault: VaultDatabase, bus: ProvisionedBus
) -> None:
    count = 450
    async with vault.stores.database.transaction() as connection:
        for number in range(1, count + 1):
            await vault.stores.database.write_audit(connection, Act("operator", "key.list", "acme", f"target-{number}"))
    async with bus.client(Role.KEY_VAULT) as client, relaying(vault, client):
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    expected = [(number, f"target-{number}") for number in range(1, count + 1)]
    assert [(event.sequence, event.target) for event in await audit(bus)] == expected


async def test_second_relay_takes_over(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    async with (
        bus.client(Role.KEY_VAULT) as client,
        relaying(vault, client, poll_seconds=0.02) as first,
        relaying(vault, client, poll_seconds=0.02) as second,
    ):
        await eventually("both count as ready", lambda: first.synced and second.synced)
        for number in range(20):
            await act(vault, number)
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
        for stopped in (first, second):
            await stopped.stop()
            assert not stopped.synced
            await act(vault, 100)
            if stopped is first:
                await eventually("the other one publishes", lambda: waiting(vault) == 0)
    assert waiting(vault) == 1, "stopped, nobody publishes, and nothing is lost"
    assert [event.sequence for event in await audit(bus)] == list(range(1, 22))


async def test_unavailable_nats_blocks_no_writer_and_loses_nothing(vault: VaultDatabase, bus: ProvisionedBus) -> None:
    async with outliving(bus) as client, relaying(vault, client, poll_seconds=0.02) as relay:
        await act(vault, 1)
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
        bus.server.kill()
        for number in range(2, 6):
            await act(vault, number)
        await eventually("it says that events wait", lambda: not relay.synced)
        assert waiting(vault) == 4
        await asyncio.to_thread(bus.server.restart)
        await eventually("the outbox is empty", lambda: waiting(vault) == 0)
    assert [event.sequence for event in await audit(bus)] == [1, 2, 3, 4, 5]


async def _ignore(_: Exception) -> None:
    """Ignore errors: the test stops the server."""
