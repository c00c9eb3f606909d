"""Dead letters: records that no table can take, with the reason. Pure."""

import base64
import hashlib
from dataclasses import dataclass

from pydantic import Field

from keyferry.contracts.service import ErrorCode, Refusal

MAX_KEPT_BYTES = 256 * 1024
"""Bytes kept of an original: more than any valid record, and few enough that a flood of invalid ones does not fill the stream."""


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record, or a whole batch, that goes to the dead letters."""

    original: bytes
    reason: str
    """For people; it repeats no value of the original."""
    producer: str
    stream: str
    spool_id: str | None = None
    spool_seq: int | None = None
    """If both can be read, the producer gets a confirmation and drops the record."""


class DeadLetter(Refusal):
    """A refusal together with what was refused."""

    producer: str
    stream: str
    """The stream that the original came through."""
    original_size_bytes: int = Field(ge=0)
    original_base64: str
    """The original from its beginning, at most MAX_KEPT_BYTES of it."""

    @property
    def original(self) -> bytes:
        """The kept part of the original."""
        return base64.b64decode(self.original_base64)


def to_dead_letter(rejected: RejectedRecord) -> DeadLetter:
    """Return the message that carries a rejected record."""
    kept = rejected.original[:MAX_KEPT_BYTES]
    return DeadLetter(
        code=ErrorCode.INVALID,
        message=rejected.reason,
        producer=rejected.producer,
        stream=rejected.stream,
        original_size_bytes=len(rejected.original),
        original_base64=base64.b64encode(kept).decode(),
    )


def message_id(rejected: RejectedRecord) -> str:
    """Return an id that depends on the original only, so that a redelivered batch stores each dead letter once."""
    return hashlib.sha256(b"\n".join((rejected.stream.encode(), rejected.original))).hexdigest()


def replacement_id(number: int, rejected: RejectedRecord) -> str:
    """Return an id for a dead letter that takes the place of another, with another reason."""
    return hashlib.sha256(f"{number}\n{rejected.reason}\n{message_id(rejected)}".encode()).hexdigest()
