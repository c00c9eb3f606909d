"""What the three spike processes say to each other: subjects, the first byte of a frame, and the readiness file."""

from collections.abc import Iterator
from pathlib import Path

REQUEST_SUBJECT = "spike.chat.request"
ATTEMPT_SUBJECT = "spike.attempt.run"
USAGE_STREAM = "SPIKE_USAGE"
USAGE_SUBJECT = "spike.attempt.finished"
COUNT_SUBJECT = "spike.usage.count"
"""Answers the number of usage records the stream has confirmed, as decimal text."""

INBOX_PREFIX = "_INBOX_spike"

ANSWER = b"J"
"""A whole JSON answer follows; it is the only frame."""
DELTAS = b"D"
"""Server-sent events follow; more frames come."""
END = b"E"
"""The stream is over."""
FAILED = b"X"
"""The attempt failed; the reason follows as text and no frame comes after it."""

EVENTS_PER_FRAME = 4
"""The product's coalescing: the first event alone, then four to a frame."""

MAX_FRAME_BYTES = 256 * 1024
MAX_RECORDS_PER_BATCH = 64


def split_events(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Cut a server-sent event buffer into its complete events, ends included, and the unfinished rest."""
    *whole, rest = buffer.split(b"\n\n")
    return [event + b"\n\n" for event in whole], rest


def frames(events: list[bytes], first_sent: bool) -> Iterator[bytes]:
    """`DELTAS` frames for some events: the very first of a stream alone and at once, the others in groups of four."""
    start = 0
    if events and not first_sent:
        yield DELTAS + events[0]
        start = 1
    for at in range(start, len(events), EVENTS_PER_FRAME):
        yield DELTAS + b"".join(events[at : at + EVENTS_PER_FRAME])


def announce(directory: Path, role: str, text: str = "") -> None:
    """Write the file that says a spike process is ready, whole or not at all."""
    draft = directory / f"{role}.draft"
    draft.write_text(text)
    draft.replace(directory / f"{role}.ready")


def announced(directory: Path, role: str) -> str | None:
    """Return the text of a role's readiness file, or None before it is ready."""
    try:
        return (directory / f"{role}.ready").read_text()
    except FileNotFoundError:
        return None
