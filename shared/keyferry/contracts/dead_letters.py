"""Showing dead letters and replaying them: what an operator asks of the ledger once a record can be stored. Pure."""

import base64
import binascii
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment, Ordinal, Refusing

MAX_COPY_BYTES = 4 * 1024 * 1024
"""A whole batch of records, which a worker publishes in one message, is no larger."""
_MAX_BASE64_CHARACTERS = (MAX_COPY_BYTES + 2) // 3 * 4
Base64 = Annotated[str, Refusing(_MAX_BASE64_CHARACTERS, 0, pattern=r"^[A-Za-z0-9+/]*={0,2}$", form="base64")]
"""Bytes that may be no text, such as the original of a dead letter."""


class GetDeadLetter(Command):
    """Request one dead letter with its whole original."""

    number: Ordinal


class DeadLetterDetail(Message):
    """One dead letter as it is kept."""

    number: Ordinal
    at: Moment
    producer: Identifier
    """The worker, router or service that sent the original."""
    stream: Identifier
    """The stream that the original came through."""
    reason: Explanation
    hint: Explanation
    """What to do about it."""
    record_id: Identifier | None = None
    """The id of the attempt, decision, event or change, if it can be read."""
    size_bytes: Count
    """Of the original; more than what is kept if the original was cut."""
    original_base64: Base64
    """The original, or its beginning."""

    @property
    def original(self) -> bytes:
        """The kept part of the original."""
        return decode_base64(self.original_base64) or b""


class ReplayDeadLetters(Command):
    """Take records in again: the dead letter `number`, or those after `after` and up to `up_to`, a page at a time."""

    number: Ordinal | None = None
    copy_base64: Base64 | None = None
    """An edited copy of the original of `number`, to be recorded in its place."""
    after: Count = 0
    up_to: Ordinal | None = None
    """None: all that there are now."""
    reason: Line | None = None
    """Only those whose reason contains this text, in any case."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ReplayOutcome(StrEnum):
    """What became of a dead letter that was replayed."""

    RECORDED = "recorded"
    """It is in the tables now, and no dead letter any more."""
    KNOWN = "known"
    """It had been recorded already, as it is; it is no dead letter any more."""
    REDUCED = "reduced"
    """Its attempt was recorded without the fields at fault: that row stands, and the dead letter stays until it is discarded."""
    REFUSED = "refused"
    """It cannot be recorded: it stays a dead letter, with the reason of this refusal."""


class ReplayedLetter(Message):
    """What became of one dead letter."""

    number: Ordinal
    outcome: ReplayOutcome
    detail: Explanation
    number_now: Ordinal | None = None
    """Its new number, if it stays with a new reason."""


class ReplayedLetters(Message):
    """A page of replayed dead letters."""

    letters: list[ReplayedLetter] = Field(default_factory=list)
    up_to: Count = 0
    """The last number that the replay covers: what is refused meanwhile gets a greater one, and is not tried again."""
    next: Count | None = None
    """Where the next page begins (`after`); null at the end."""


def decode_base64(text: str) -> bytes | None:
    """Return the bytes that `text` encodes; None if it encodes none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def encode_base64(data: bytes) -> str:
    """Return the text that encodes `data`."""
    return base64.b64encode(data).decode()
