"""How many messages a process asks for at once follows from the size of those that came."""

from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.runtime.bus.pulling import BatchSize


def messages(*sizes: int) -> list[Msg]:
    return [Msg(_client=Client(), data=b"x" * size) for size in sizes]


def test_few_are_asked_for_until_their_size_is_known() -> None:
    assert BatchSize().messages == 8


def test_small_messages_soon_come_in_large_batches() -> None:
    size, asked = BatchSize(), []
    for _ in range(8):
        asked.append(size.messages)
        size.add(messages(100, 2000))
    assert asked == [8, 16, 32, 64, 128, 256, 500, 500]


def test_large_messages_come_in_small_batches_at_once() -> None:
    size = BatchSize()
    for _ in range(20):
        size.add(messages(1))
    size.add(messages(10, 500_000, 10))
    assert size.messages == 67
    size.add(messages(8_000_000))
    assert size.messages == 4
    size.add([])
    assert size.messages == 8
