"""The stream of dead letters: storing, counting, listing, replacing and discarding them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.topology import RECORD_REJECTED, Role
from keyferry.contracts.usage import (
    DeadLetterEntry,
    DeadLetters,
    DiscardDeadLetters,
    Discarded,
    ListDeadLetters,
)
from keyferry.runtime.concurrency import cancel_and_wait
from services.usage_ledger.dead_letter import DeadLetter, RejectedRecord, message_id, replacement_id, to_dead_letter

_log = logging.getLogger(__name__)

_STREAM = RECORD_REJECTED.stream or ""
_SUBJECT = RECORD_REJECTED.format(service=Role.USAGE_LEDGER.value)
_PUBLISH_TIMEOUT_SECONDS = 5.0
_COUNT_EVERY_SECONDS = 10.0
_PAGE = 50
"""With originals of 4000 characters a page fits into one message."""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter as the stream keeps it."""

    number: int
    at: datetime
    letter: DeadLetter


class DeadLetterStream:
    """The dead letters on the bus. `count` is how many there were when it was last asked."""

    def __init__(self, jetstream: Callable[[], JetStreamContext]) -> None:
        self._jetstream = jetstream
        self._task: asyncio.Task[None] | None = None
        self.count = 0
        self.on_count: Callable[[int], None] | None = None
        """Receives the count when it has changed."""

    async def start(self) -> None:
        """Begin to count."""
        self._task = asyncio.create_task(self._count_now_and_then(), name="count dead letters")

    async def stop(self) -> None:
        """Stop counting."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def degraded(self) -> list[str]:
        """Return what an operator has to know of them."""
        if not self.count:
            return []
        what = "1 record is a dead letter" if self.count == 1 else f"{self.count} records are dead letters"
        return [
            f"{what}: `keyferry dead-letters list` shows why, `keyferry dead-letters replay` takes them in after a fix"
        ]

    async def publish(self, rejected: RejectedRecord) -> None:
        """Store a dead letter, once however often it is published. Raises nats-py's errors."""
        await self._publish(rejected, message_id(rejected))

    async def replace(self, number: int, rejected: RejectedRecord) -> int:
        """Store a dead letter again with a new reason, then remove it as it was; return its new number. Raises nats-py's errors.

        If the process ends in between, both stay: whatever is done with the second one finds its record by its id.
        """
        new_number = await self._publish(rejected, replacement_id(number, rejected))
        await self.remove(number)
        return new_number

    async def remove(self, number: int) -> None:
        """Remove one dead letter; passes if it is gone. Raises nats-py's errors."""
        with suppress(NotFoundError):
            await self._jetstream().delete_msg(_STREAM, number)
        await self._count()

    async def _publish(self, rejected: RejectedRecord, unique_id: str) -> int:
        acknowledgement = await self._jetstream().publish(
            _SUBJECT,
            to_dead_letter(rejected).encode(),
            timeout=_PUBLISH_TIMEOUT_SECONDS,
            headers={"Nats-Msg-Id": unique_id},
        )
        self._set_count(self.count + (not acknowledgement.duplicate))
        return acknowledgement.seq

    async def get(self, number: int) -> StoredLetter | None:
        """Return one dead letter; None if there is none with this number. Raises nats-py's errors."""
        found = await self.following(number - 1)
        return found if found is not None and found.number == number else None

    async def following(self, after: int) -> StoredLetter | None:
        """Return the first dead letter with a greater number; None if there is none. Raises nats-py's errors."""
        try:
            message = await self._jetstream().get_msg(_STREAM, seq=after + 1, subject=_SUBJECT, next=True)
        except NotFoundError:
            return None
        return StoredLetter(message.seq or after + 1, message.time or datetime.fromtimestamp(0, UTC), _letter(message))

    async def last_number(self) -> int:
        """Return the number of the last dead letter that there was. Raises nats-py's errors."""
        return (await self._jetstream().stream_info(_STREAM)).state.last_seq

    async def list(self, command: ListDeadLetters) -> DeadLetters:
        """Return a page of dead letters. Raises nats-py's errors."""
        total = await self._count()
        entries: list[DeadLetterEntry] = []
        number = command.after
        while len(entries) < _PAGE and (found := await self.following(number)) is not None:
            number = found.number
            entries.append(_entry(found))
        return DeadLetters(total=total, entries=entries)

    async def has_up_to(self, number: int) -> bool:
        """Return whether there is a dead letter with this number or a lower one. Raises nats-py's errors."""
        state = (await self._jetstream().stream_info(_STREAM)).state
        return state.messages > 0 and state.first_seq <= number

    async def discard(self, command: DiscardDeadLetters) -> Discarded:
        """Remove the dead letters up to a number. Raises nats-py's errors."""
        before = await self._count()
        if command.only:
            await self.remove(command.up_to)
        else:
            await self._jetstream().purge_stream(_STREAM, seq=command.up_to + 1)
        left = await self._count()
        _log.warning("dead letters were discarded", extra={"up_to": command.up_to, "discarded": before - left})
        return Discarded(discarded=max(before - left, 0), left=left)

    async def _count(self) -> int:
        self._set_count((await self._jetstream().stream_info(_STREAM)).state.messages)
        return self.count

    def _set_count(self, count: int) -> None:
        before, self.count = self.count, count
        if count != before and self.on_count is not None:
            self.on_count(count)

    async def _count_now_and_then(self) -> None:
        while True:
            with suppress(NatsError, APIError, TimeoutError):
                await self._count()
            await asyncio.sleep(_COUNT_EVERY_SECONDS)


def _letter(message: RawStreamMsg) -> DeadLetter:
    try:
        return DeadLetter.decode(message.data or b"")
    except MalformedMessage as error:
        return to_dead_letter(RejectedRecord(message.data or b"", f"it cannot be read: {error}", "unknown", _STREAM))


def _entry(stored: StoredLetter) -> DeadLetterEntry:
    letter = stored.letter
    return DeadLetterEntry(
        number=stored.number,
        at=stored.at,
        producer=letter.producer,
        stream=letter.stream,
        reason=letter.message,
        size_bytes=letter.original_size_bytes,
        original=letter.original.decode("utf-8", "replace"),
    )
