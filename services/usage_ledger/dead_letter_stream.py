"""The stream of dead letters: storing, counting, listing and discarding them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
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
from services.usage_ledger.dead_letter import DeadLetter, RejectedRecord, message_id, to_dead_letter

_log = logging.getLogger(__name__)

_STREAM = RECORD_REJECTED.stream or ""
_SUBJECT = RECORD_REJECTED.format(service=Role.USAGE_LEDGER.value)
_PUBLISH_TIMEOUT_SECONDS = 5.0
_COUNT_EVERY_SECONDS = 10.0
_PAGE = 50
"""With originals of 4000 characters a page fits into one message."""


class DeadLetterStream:
    """The dead letters on the bus. `count` is how many there were when it was last asked."""

    def __init__(self, jetstream: Callable[[], JetStreamContext]) -> None:
        self._jetstream = jetstream
        self._task: asyncio.Task[None] | None = None
        self.count = 0

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
        return [f"{what}: `keyferry deadletters list` shows why, `keyferry deadletters discard` removes what was seen"]

    async def publish(self, rejected: RejectedRecord) -> None:
        """Store a dead letter, once however often it is published. Raises nats-py's errors."""
        acknowledgement = await self._jetstream().publish(
            _SUBJECT,
            to_dead_letter(rejected).encode(),
            timeout=_PUBLISH_TIMEOUT_SECONDS,
            headers={"Nats-Msg-Id": message_id(rejected)},
        )
        self.count += not acknowledgement.duplicate

    async def list(self, command: ListDeadLetters) -> DeadLetters:
        """Return a page of dead letters. Raises nats-py's errors."""
        total = await self._count()
        entries: list[DeadLetterEntry] = []
        number = command.after
        with suppress(NotFoundError):
            while len(entries) < _PAGE:
                message = await self._jetstream().get_msg(_STREAM, seq=number + 1, subject=_SUBJECT, next=True)
                number = message.seq or number + 1
                entries.append(_entry(message))
        return DeadLetters(total=total, entries=entries)

    async def has_up_to(self, number: int) -> bool:
        """Return whether there is a dead letter with this number or a lower one. Raises nats-py's errors."""
        state = (await self._jetstream().stream_info(_STREAM)).state
        return state.messages > 0 and state.first_seq <= number

    async def discard(self, command: DiscardDeadLetters) -> Discarded:
        """Remove the dead letters up to a number. Raises nats-py's errors."""
        before = await self._count()
        await self._jetstream().purge_stream(_STREAM, seq=command.up_to + 1)
        left = await self._count()
        _log.warning("dead letters were discarded", extra={"up_to": command.up_to, "discarded": before - left})
        return Discarded(discarded=max(before - left, 0), left=left)

    async def _count(self) -> int:
        self.count = (await self._jetstream().stream_info(_STREAM)).state.messages
        return self.count

    async def _count_now_and_then(self) -> None:
        while True:
            with suppress(NatsError, APIError, TimeoutError):
                await self._count()
            await asyncio.sleep(_COUNT_EVERY_SECONDS)


def _entry(message: RawStreamMsg) -> DeadLetterEntry:
    try:
        letter = DeadLetter.decode(message.data or b"")
    except MalformedMessage as error:
        letter = to_dead_letter(RejectedRecord(message.data or b"", f"it cannot be read: {error}", "unknown", _STREAM))
    return DeadLetterEntry(
        number=message.seq or 1,
        at=message.time or datetime.fromtimestamp(0, UTC),
        producer=letter.producer,
        stream=letter.stream,
        reason=letter.message,
        size_bytes=letter.original_size_bytes,
        original=letter.original.decode("utf-8", "replace"),
    )
