"""Frames: the format of an answer from the worker, or a refusal from the router, in the caller's inbox.

The first byte is the kind. Data frames are on the fast path, so their head is plain text, not JSON:

    A{accepted}\\n                         the worker is about to call the provider
    D<attempt_id> <seq>\\n<payload>        `seq` counts from 1 within the attempt
    E{end}\\n<payload>                     exactly one per attempt; `count` is the number of data frames before it
    R{refused}\\n                          no attempt was made for this request

The payload of a stream is OpenAI `chat.completion.chunk` objects, one JSON text per line, with the usage chunk if the caller
asked for it; otherwise it is the bytes of one `chat.completion` object, split at the size limit. A reader that sees a gap in
`seq`, or an end whose `count` differs from the frames it has, must not treat the answer as complete. Pure.
"""

from typing import Literal

from pydantic import Field

from keyferry.contracts.credit import AllowanceUse
from keyferry.contracts.envelope import MalformedMessage, Message
from keyferry.contracts.failure import Failure
from keyferry.contracts.fallback import FallbackReason
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import EndpointName, ProviderName
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.route import DecisionSummary
from keyferry.contracts.text import Count, Identifier, Line, Ordinal, Reported
from keyferry.contracts.usage import KeySource, Outcome

MAX_PAYLOAD_BYTES = 256 * 1024
"""Largest payload of one frame: a burst from many streams must fit into the server's buffer for one subscriber."""
_MAX_SEQ_DIGITS = 18


class Accepted(Message):
    """A worker accepted the attempt and is about to call the provider; control messages go to `instance_id`."""

    attempt_id: Identifier
    instance_id: Identifier
    attempt_number: Ordinal
    decision_id: Identifier
    provider: ProviderName
    endpoint: EndpointName | None = None
    model: Line
    replaces: Line | None = None
    """The retired model that was asked for, where its replacement answers."""
    key_source: KeySource
    power_level: PowerLevel | None = None
    """The level by which model or offering were chosen; null where none was."""
    dropped: list[Reported] = Field(default_factory=list)
    """Fields of the caller's body that the provider does not support and that were dropped, as the tenant allows."""
    added: list[Reported] = Field(default_factory=list)
    """Texts that were sent beside the caller's, in place of messages or results that the provider wants."""
    decision: DecisionSummary | None = None
    """Where the request asked for it."""
    fallback_reason: FallbackReason | None = None
    """Why the attempt is not the first choice of the request's plan; null if it is."""
    rate_limits: RateLimits | None = None
    """What is left of the caller's limits."""
    allowance: AllowanceUse | None = None
    """The free requests of the month, if this is one of them."""
    awaits_start: bool = False
    """Whether the worker calls the provider only once the caller has confirmed this acceptance."""
    earlier_attempts: list[Identifier] = Field(default_factory=list)
    """The attempts that this one follows: of a request that was sent twice, those of the other copy are not among them."""

    def to_frame(self) -> bytes:
        """Return the frame's bytes."""
        return b"A" + self.encode() + b"\n"


class Data(Message):
    """A piece of the answer."""

    attempt_id: Identifier
    seq: Ordinal
    payload: bytes

    def to_frame(self) -> bytes:
        """Return the frame's bytes."""
        return data_frame(self.attempt_id, self.seq, self.payload)


class End(Message):
    """The terminal state of the attempt, as the ledger records it."""

    attempt_id: Identifier
    outcome: Outcome
    count: Count
    failure: Failure | None = None
    payload: bytes = Field(default=b"", exclude=True)

    def to_frame(self) -> bytes:
        """Return the frame's bytes."""
        return b"".join((b"E", self.encode(), b"\n", self.payload))


class RequestRefused(Message):
    """The request ends before any attempt."""

    request_id: Identifier
    decision_id: Identifier | None = None
    failure: Failure
    decision: DecisionSummary | None = None
    """Where the request asked for it."""
    rate_limits: RateLimits | None = None
    """What is left of the caller's limits, if the request got that far."""

    def to_frame(self) -> bytes:
        """Return the frame's bytes."""
        return b"R" + self.encode() + b"\n"


Frame = Accepted | Data | End | RequestRefused
FrameTag = Literal["A", "D", "E", "R"]


def data_frame(attempt_id: str, seq: int, payload: bytes) -> bytes:
    """Return a data frame without building a model: the fast path of streaming."""
    return b"D%b %d\n%b" % (attempt_id.encode(), seq, payload)


def decode(frame: bytes) -> Frame:
    """Decode a frame. Raises MalformedMessage."""
    head, newline, payload = frame.partition(b"\n")
    if not newline:
        raise MalformedMessage("Frame", "the head line has no end")
    tag = head[:1]
    if tag == b"D":
        attempt, _, seq = head[1:].partition(b" ")
        if not seq.isdigit() or len(seq) > _MAX_SEQ_DIGITS or seq.startswith(b"0"):
            raise MalformedMessage("Frame", "a data frame without a sequence number")
        if not attempt or not attempt.isascii():
            raise MalformedMessage("Frame", "a data frame without an attempt")
        return Data.model_construct(attempt_id=attempt.decode(), seq=int(seq), payload=payload)
    if tag == b"A":
        return Accepted.decode(head[1:])
    if tag == b"E":
        end = End.decode(head[1:])
        return end.model_copy(update={"payload": payload}) if payload else end
    if tag == b"R":
        return RequestRefused.decode(head[1:])
    raise MalformedMessage("Frame", f"unknown tag {tag!r}")
