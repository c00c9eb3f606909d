"""The count of dead letters, and their pages. The stream is scripted as JetStream describes it."""

from types import SimpleNamespace
from typing import cast

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from keyferry.contracts.usage import ListDeadLetters
from services.usage_ledger.dead_letter import RejectedRecord
from services.usage_ledger.dead_letter_stream import DeadLetterStream

MANY = 120


class Stream:
    """Keeps a message once by its id, and numbers what it keeps from 1."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self._ids: set[str] = set()
        self.read = 0

    async def publish(self, subject: str, payload: bytes, timeout: float, headers: dict[str, str]) -> SimpleNamespace:
        duplicate = headers["Nats-Msg-Id"] in self._ids
        if not duplicate:
            self._ids.add(headers["Nats-Msg-Id"])
            self.messages.append(payload)
        return SimpleNamespace(duplicate=duplicate or None, seq=len(self.messages))

    async def stream_info(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(state=SimpleNamespace(messages=len(self.messages)))

    async def get_msg(self, name: str, *, seq: int, subject: str, next: bool) -> SimpleNamespace:  # noqa: A002
        self.read += 1
        if seq > len(self.messages):
            raise NotFoundError
        return SimpleNamespace(seq=seq, data=self.messages[seq - 1], time=None)


def letter(number: int) -> RejectedRecord:
    return RejectedRecord(f"line {number}".encode(), "it is no record", "provider-worker-1", "ATTEMPTS")


async def test_a_dead_letter_that_is_published_again_is_counted_once() -> None:
    stream = Stream()
    letters = DeadLetterStream(lambda: cast(JetStreamContext, stream))
    for number in (1, 2, 1, 1):
        await letters.publish(letter(number))
    assert letters.count == 2
    assert letters.degraded()[0].startswith("2 records are dead letters")


async def test_dead_letters_are_listed_in_pages() -> None:
    """A page has to fit into one message, however many there are."""
    stream = Stream()
    letters = DeadLetterStream(lambda: cast(JetStreamContext, stream))
    for number in range(MANY):
        await letters.publish(letter(number))
    sizes, listed = [], []
    after = 0
    while (page := await letters.list(ListDeadLetters(after=after))).entries:
        assert page.total == MANY
        sizes.append(len(page.entries))
        listed += [entry.original for entry in page.entries]
        after = page.entries[-1].number
    assert listed == [f"line {number}" for number in range(MANY)]
    assert sizes == [50, 50, 20]
