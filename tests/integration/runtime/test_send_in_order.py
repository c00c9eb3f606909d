"""Messages whose acknowledgements are awaited together: their order, and where to resume when one is not stored."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import MaxPayloadError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import BadRequestError

from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.concurrency import Send, send_in_order
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

SUBJECT = AUDIT_RECORDED.format(service=Role.KEY_VAULT.value)
WITHIN_SECONDS = 30.0


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path) as bus:
        yield bus


@pytest.fixture
async def vault(bus: ProvisionedBus) -> AsyncIterator[Client]:
    async with bus.client(Role.KEY_VAULT) as client:
        yield client


def sends(
    jetstream: JetStreamContext, texts: list[str], subject: str = SUBJECT, timeout: float = WITHIN_SECONDS
) -> list[Send]:
    """Return one send per text, with its first letters as message id."""
    return [
        partial(jetstream.publish, subject, text.encode(), timeout=timeout, headers={"Nats-Msg-Id": text[:8]})
        for text in texts
    ]


async def stored(bus: ProvisionedBus) -> list[str]:
    async with bus.client(Role.PROVISIONER) as client:
        jetstream = client.jetstream()
        last = (await jetstream.stream_info("AUDIT")).state.last_seq
        return [((await jetstream.get_msg("AUDIT", seq)).data or b"").decode() for seq in range(1, last + 1)]


async def largest_message(bus: ProvisionedBus, size_bytes: int) -> None:
    """Make the stream reject larger messages; -1 is no limit."""
    async with bus.client(Role.PROVISIONER) as client:
        jetstream = client.jetstream()
        config: StreamConfig = (await jetstream.stream_info("AUDIT")).config
        await jetstream.update_stream(config.evolve(max_msg_size=size_bytes))


async def test_messages_are_stored_in_order(bus: ProvisionedBus, vault: Client) -> None:
    texts = [f"text{number:04}" for number in range(500)]
    assert await send_in_order(sends(vault.jetstream(), texts)) == (500, None)
    assert await stored(bus) == texts


async def test_sending_nothing_succeeds(vault: Client) -> None:
    assert await send_in_order([]) == (0, None)


async def test_sending_resumes_after_a_rejected_message_without_repetition(bus: ProvisionedBus, vault: Client) -> None:
    texts = ["first", "second", "the third, which is a large one" * 10, "fourth", "fifth"]
    jetstream = vault.jetstream()
    await largest_message(bus, 200)
    count, failure = await send_in_order(sends(jetstream, texts))
    assert (count, type(failure)) == (2, BadRequestError)
    await largest_message(bus, -1)
    assert await send_in_order(sends(jetstream, texts[count:])) == (3, None)
    assert sorted(await stored(bus)) == sorted(texts)


async def test_nothing_is_sent_after_a_message_that_could_not_be_written(bus: ProvisionedBus, vault: Client) -> None:
    jetstream = vault.jetstream()
    too_large = "x" * (vault.max_payload + 1)
    count, failure = await send_in_order(sends(jetstream, ["first", too_large, "third"]))
    assert count == 1
    assert type(failure) is MaxPayloadError
    assert await stored(bus) == ["first"]


async def test_a_missing_acknowledgement_is_a_failure(bus: ProvisionedBus, vault: Client) -> None:
    jetstream = vault.jetstream()
    assert await send_in_order(sends(jetstream, ["first"])) == (1, None)
    bus.server.pause()
    try:
        count, failure = await send_in_order(sends(jetstream, ["second", "third"], timeout=0.1))
    finally:
        bus.server.resume()
    assert (count, type(failure)) == (0, NatsTimeoutError)
