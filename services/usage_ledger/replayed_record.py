"""What a dead letter holds, as its producer would publish it again, and what to do about it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from keyferry.contracts.topology import ATTEMPT_FINISHED, AUDIT_RECORDED, HEALTH_CHANGED, REQUEST_DECIDED
from keyferry.contracts.usage import BatchHead
from services.usage_ledger.dead_letter import DeadLetter, RejectedRecord

ATTEMPTS, DECISIONS = ATTEMPT_FINISHED.stream or "", REQUEST_DECIDED.stream or ""
AUDIT, CHANGES = AUDIT_RECORDED.stream or "", HEALTH_CHANGED.stream or ""

_ID_FIELDS: Mapping[str, str] = {
    ATTEMPTS: "attempt_id",
    DECISIONS: "decision_id",
    AUDIT: "event_id",
    CHANGES: "change_id",
}
_MAX_ID_CHARACTERS = 200

_UPGRADE = (
    "If a newer build wrote it, upgrade the ledger and replay it. Otherwise correct a copy of the original and replay that"
    " with `--file`, or report the reason as a defect and discard it"
)
_CUT = "Only its beginning was kept: it can be replayed only from a complete copy, with `--file`."
_FOREIGN = (
    "A process reported in the name of another one: find out which process holds these credentials before anything else, and"
    " discard the record unless you know that it is true"
)
_REFUSED_BY_DATABASE = (
    "A value is beyond what the table takes. If a later build accepts it, upgrade and replay it; otherwise correct a copy and"
    " replay that with `--file`"
)
_REDUCED = (
    "If it says whose attempt it is, the attempt is recorded without the fields at fault, and that row stands: compare it"
    " with the provider's own usage."
)


class NotReplayable(Exception):
    """A dead letter that cannot be taken in again as it is. The message says why, and can be shown."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A message as its producer would publish it."""

    subject: str
    data: bytes


@dataclass(slots=True)
class RecordedAgain:
    """What the ordinary ingestion made of a message that was a dead letter."""

    new: int = 0
    known: int = 0
    unkept: set[str] = field(default_factory=set)
    """The fields without which attempts are recorded that were known."""
    rejected: list[RejectedRecord] = field(default_factory=list)


def replayed_record(letter: DeadLetter, edited: bytes | None) -> RawRecord:
    """Return the message that a dead letter was, or that an edited copy of it is. Raises NotReplayable.

    The producer is the one that the bus vouched for, so that nobody's copy reports in another's name. A copy has to keep the
    record's id, by which it is recorded once.
    """
    if letter.stream not in _ID_FIELDS:
        raise NotReplayable("it says of no stream that the ledger reads: it can only be discarded")
    if edited is None and is_cut(letter):
        raise NotReplayable(
            f"only the first {len(letter.original)} of its {letter.original_size_bytes} bytes were kept: replay a"
            " complete copy with `--file`"
        )
    if edited is not None and (known := record_id(letter.stream, letter.original)) is not None:
        given = record_id(letter.stream, edited)
        if given != known:
            raise NotReplayable(
                f"the copy has another {_ID_FIELDS[letter.stream]} than the original, and could be recorded twice: keep the id"
            )
    return _message(letter, letter.original if edited is None else edited)


def is_cut(letter: DeadLetter) -> bool:
    """Return whether only the beginning of the original was kept."""
    return len(letter.original) < letter.original_size_bytes


def is_batch(record: RawRecord) -> bool:
    """Return whether a message holds more than one record."""
    return record.data.count(b"\n") > 1


def record_id(stream: str, original: bytes) -> str | None:
    """Return the id of the record in `original`, if it is one record and its id can be read."""
    try:
        document = orjson.loads(original)
    except orjson.JSONDecodeError:
        return None
    found = document.get(_ID_FIELDS.get(stream, "")) if isinstance(document, dict) else None
    return found if isinstance(found, str) and _is_identifier(found) else None


def hint(letter: DeadLetter) -> str:
    """Return what to do about a dead letter."""
    reason = letter.message
    parts: list[str] = []
    if is_cut(letter):
        parts.append(_CUT)
    if "another" in reason:
        return " ".join([*parts, _FOREIGN])
    if letter.stream == ATTEMPTS and not reason.startswith("BatchHead"):
        parts.append(_REDUCED)
    parts.append(_REFUSED_BY_DATABASE if reason.startswith("PostgreSQL") else _UPGRADE)
    return " ".join(parts)


def _message(letter: DeadLetter, original: bytes) -> RawRecord:
    producer = letter.producer
    if letter.stream == AUDIT:
        return RawRecord(AUDIT_RECORDED.format(service=producer), original)
    if letter.stream == CHANGES:
        return RawRecord(HEALTH_CHANGED.format(provider=producer), original)
    subject = ATTEMPT_FINISHED.format(worker=producer) if letter.stream == ATTEMPTS else None
    subject = subject or REQUEST_DECIDED.format(service=producer)
    line = _one_line(original)
    if line is None:
        return RawRecord(subject, original)
    return RawRecord(subject, BatchHead(producer=producer, count=1).with_body(line))


def _one_line(original: bytes) -> bytes | None:
    """Return a record on one line; None for a batch, whose head is a line of its own.

    A record that was edited by hand may be indented. No JSON text has a line break within a string.
    """
    stripped = original.strip()
    if b"\n" not in stripped:
        return None if _is_head(stripped) else stripped
    try:
        orjson.loads(stripped)
    except orjson.JSONDecodeError:
        return None
    return stripped.replace(b"\r", b" ").replace(b"\n", b" ")


def _is_head(line: bytes) -> bool:
    """Return whether a single line is the head of a batch without records."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and "count" in document and "producer" in document


def _is_identifier(text: str) -> bool:
    return 0 < len(text) <= _MAX_ID_CHARACTERS and text.isascii() and text.isprintable() and " " not in text
