"""What is set aside because no table can take it: the original, and the reason."""

import base64
import hashlib
from dataclasses import dataclass

from pydantic import Field

from keyferry.contracts.service import ErrorCode, Refusal

MAX_KEPT_BYTES = 256 * 1024
"""How much of an original is kept: more than any honest record, so that a flood of bad ones does not fill the stream."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record, or a whole pack, that goes to the dead letters."""

    original: bytes
    reason: str
    """For people; it repeats no value of the original."""
    producer: str
    stream: str
    spool_id: str | None = None
    spool_seq: int | None = None
    """Where these two can be read, the producer is told to forget the record."""


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
        """What is kept of the original."""
        return base64.b64decode(self.original_base64)


def dead_letter(rejected: Rejected) -> DeadLetter:
    """The message that sets something aside."""
    kept = rejected.original[:MAX_KEPT_BYTES]
    return DeadLetter(
        code=ErrorCode.INVALID,
        message=rejected.reason,
        producer=rejected.producer,
        stream=rejected.stream,
        original_size_bytes=len(rejected.original),
        original_base64=base64.b64encode(kept).decode(),
    )


def message_id(rejected: Rejected) -> str:
    """The same for the same original, so that a batch that comes again does not set it aside twice."""
    return hashlib.sha256(b"\n".join((rejected.stream.encode(), rejected.original))).hexdigest()
