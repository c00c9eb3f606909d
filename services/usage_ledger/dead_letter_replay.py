"""Replaying dead letters: each goes through the ordinary ingestion of its stream, and is removed only after the commit.

A process that ends in between leaves the dead letter, and the next replay finds its record by its id.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping

from keyferry.contracts.dead_letters import (
    DeadLetterDetail,
    GetDeadLetter,
    ReplayDeadLetters,
    ReplayedLetter,
    ReplayedLetters,
    ReplayOutcome,
    decode_base64,
)
from services.usage_ledger.dead_letter import RejectedRecord
from services.usage_ledger.dead_letter_stream import DeadLetterStream, StoredLetter
from services.usage_ledger.replayed_record import (
    NotReplayable,
    RawRecord,
    RecordedAgain,
    hint,
    is_batch,
    record_id,
    replayed_record,
)

_PAGE = 50
_PAGE_BYTES = 4 * 1024 * 1024
_MAX_SCANNED = 500
"""Dead letters read for one page; with `reason` most of them may be of no interest."""

RecordAgain = Callable[[RawRecord], Awaitable[RecordedAgain]]
"""Raises what the ingestion raises when nothing was recorded."""
RecordAction = Callable[[str, str, str, dict[str, str]], Awaitable[None]]
"""Appends an action to the audit: actor, action, target and details."""


class NoSuchLetter(Exception):
    """A number that no dead letter has. The message can be shown."""


class DeadLetterReplay:
    """Shows dead letters, and takes them in again. Both raise NoSuchLetter, and nats-py's errors."""

    def __init__(
        self, letters: DeadLetterStream, record_again: Mapping[str, RecordAgain], record_action: RecordAction
    ) -> None:
        self._letters = letters
        self._record_again = record_again
        """By stream."""
        self._record_action = record_action

    async def show(self, command: GetDeadLetter) -> DeadLetterDetail:
        """Return a dead letter with its whole original, and what to do about it."""
        stored = await self._get(command.number)
        letter = stored.letter
        return DeadLetterDetail(
            number=stored.number,
            at=stored.at,
            producer=letter.producer,
            stream=letter.stream,
            reason=letter.message,
            hint=hint(letter),
            record_id=record_id(letter.stream, letter.original),
            size_bytes=letter.original_size_bytes,
            original_base64=letter.original_base64,
        )

    async def replay(self, command: ReplayDeadLetters) -> ReplayedLetters:
        """Take one dead letter in again, or a page of them. The audit has it before anything is recorded.

        Raises NotReplayable for a copy that is none, and what the ingestion raises.
        """
        if command.number is not None:
            return await self._replay_one(command, command.number)
        if command.copy_base64 is not None:
            raise NotReplayable("a copy stands for one dead letter: give its number")
        up_to = command.up_to or await self._letters.last_number()
        chosen, last = await self._choose(command, up_to)
        if chosen:
            details = {"count": str(len(chosen)), "first": str(chosen[0].number), "last": str(chosen[-1].number)}
            if command.reason is not None:
                details["reason"] = command.reason
            await self._record_action(command.actor, "dead_letter.replay", f"{len(chosen)} dead letters", details)
        replayed = [await self._take_in(stored, None) for stored in chosen]
        return ReplayedLetters(letters=replayed, up_to=up_to, next=last)

    async def _replay_one(self, command: ReplayDeadLetters, number: int) -> ReplayedLetters:
        stored = await self._get(number)
        details = {"stream": stored.letter.stream, "producer": stored.letter.producer}
        edited = None
        if command.copy_base64 is not None:
            if (edited := decode_base64(command.copy_base64)) is None:
                raise NotReplayable("the copy is not encoded as base64")
            details["copy_sha256"] = hashlib.sha256(edited).hexdigest()
        await self._record_action(command.actor, "dead_letter.replay", f"dead letter {number}", details)
        return ReplayedLetters(letters=[await self._take_in(stored, edited)], up_to=number)

    async def _get(self, number: int) -> StoredLetter:
        if (stored := await self._letters.get(number)) is None:
            raise NoSuchLetter(
                f"there is no dead letter {number}: `keyferry dead-letters list` shows those that there are"
            )
        return stored

    async def _choose(self, command: ReplayDeadLetters, up_to: int) -> tuple[list[StoredLetter], int | None]:
        """Return the dead letters of one page, and where the next one begins; None at the end."""
        chosen: list[StoredLetter] = []
        size, number = 0, command.after
        for _ in range(_MAX_SCANNED):
            stored = await self._letters.following(number)
            if stored is None or stored.number > up_to:
                return chosen, None
            number = stored.number
            if command.reason is None or command.reason.casefold() in stored.letter.message.casefold():
                chosen.append(stored)
                size += len(stored.letter.original_base64)
            if len(chosen) >= _PAGE or size >= _PAGE_BYTES:
                break
        return chosen, number if number < up_to else None

    async def _take_in(self, stored: StoredLetter, edited: bytes | None) -> ReplayedLetter:
        try:
            record = replayed_record(stored.letter, edited)
        except NotReplayable as error:
            return ReplayedLetter(number=stored.number, outcome=ReplayOutcome.REFUSED, detail=str(error))
        again = await self._record_again[stored.letter.stream](record)
        if again.rejected and is_batch(record) and (again.new or again.known or len(again.rejected) > 1):
            return await self._split(stored, again)
        if again.rejected:
            return await self._refuse(stored, again, edited)
        if again.unkept:
            detail = (
                f"its attempt is recorded already, without {', '.join(sorted(again.unkept))}: that row stands, and nothing"
                " was added; discard the dead letter once it is dealt with"
            )
            return ReplayedLetter(number=stored.number, outcome=ReplayOutcome.REDUCED, detail=detail)
        await self._letters.remove(stored.number)
        if again.new:
            detail = "recorded" if again.new == 1 else f"{again.new} records of the batch are recorded"
            return ReplayedLetter(number=stored.number, outcome=ReplayOutcome.RECORDED, detail=detail)
        return ReplayedLetter(
            number=stored.number, outcome=ReplayOutcome.KNOWN, detail="it is recorded already: nothing was added"
        )

    async def _split(self, stored: StoredLetter, again: RecordedAgain) -> ReplayedLetter:
        """Keep the refused records of a batch as dead letters of their own, as the ingestion of any batch does."""
        for rejected in again.rejected:
            await self._letters.publish(rejected)
        await self._letters.remove(stored.number)
        detail = (
            f"{again.new} records of the batch are recorded, {again.known} had been already, and {len(again.rejected)} are"
            " dead letters of their own now"
        )
        return ReplayedLetter(number=stored.number, outcome=ReplayOutcome.RECORDED, detail=detail)

    async def _refuse(self, stored: StoredLetter, again: RecordedAgain, edited: bytes | None) -> ReplayedLetter:
        """Keep the dead letter as it is, or with another reason if there is one; an edited copy is not kept."""
        reason = again.rejected[0].reason
        detail = reason
        if again.unkept:
            detail += f"; its attempt is recorded without {', '.join(sorted(again.unkept))}"
        number_now = None
        if edited is None and reason != stored.letter.message:
            letter = stored.letter
            rejected = RejectedRecord(letter.original, reason, letter.producer, letter.stream)
            number_now = await self._letters.replace(stored.number, rejected)
        return ReplayedLetter(number=stored.number, outcome=ReplayOutcome.REFUSED, detail=detail, number_now=number_now)
