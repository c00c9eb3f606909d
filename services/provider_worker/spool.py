"""The worker's write-ahead log of attempts that the ledger has not confirmed.

Before a provider is called, an *intent* is written: the record that stands if nothing more is ever known (`indeterminate`).
When the attempt has ended, its *result* is written. Both are kept until the ledger confirms the record after its commit. What
was written survives kill -9 (it is in the kernel); a power cut may lose the last moments.

On disk: one directory, locked by its slot; `id`, the id of this spool, which changes when the directory is made anew; and
segments `<first seq>.log` of lines `I<record>` and `R<record>`. A segment is deleted when everything in it is confirmed.
"""

import fcntl
import heapq
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from keyferry.contracts import ids
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.reduced_record import reduce_record
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.backoff import Backoff

_log = logging.getLogger(__name__)

_INTENT, _RESULT = b"I", b"R"
SEGMENT_BYTES = 4 * 1024 * 1024
REPUBLISH = Backoff(first_seconds=20.0, longest_seconds=1280.0)
"""The first delay is longer than a ledger restart, so that one repeats little; doubling keeps copies out of the stream of a
ledger that is down for long."""
_DUE_NOW = float("-inf")


class SpoolLocked(Exception):
    """Another process owns this slot's directory."""


class SpooledResult(NamedTuple):
    """A result to publish again."""

    attempt_id: str
    line: bytes


@dataclass(slots=True)
class _Entry:
    attempt_id: str
    line: bytes
    """The current record: the intent until there is a result."""
    has_result: bool
    segments: list[Path]
    published: int = 0
    """How often the result was returned for publishing."""


class Spool:
    """One slot's spool. Every method is a few microseconds of file I/O at most; call it from one thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unconfirmed: dict[int, _Entry] = {}
        self._results = 0
        self._due: list[tuple[float, int]] = []
        """A heap of published results: when each is due again, and its sequence number. Confirmed ones stay in it until then."""
        self._lines_in_segment: dict[Path, int] = defaultdict(int)
        self._next_seq = 1
        self._file = -1
        self._path = directory
        self._size = 0
        self._lock = -1
        self.spool_id = ""
        self.unreadable = 0
        """Lines that an earlier process left and that cannot be read: each may have been an attempt."""

    def open(self) -> None:
        """Lock the directory and read what an earlier process left. Raises SpoolLocked, or OSError if it cannot be used."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolLocked(f"another worker owns {self._directory}; give this one another slot") from None
        self.spool_id = self._read_id()
        for path in sorted(self._directory.glob("*.log")):
            self._load(path)
        self._rotate()

    def close(self) -> None:
        """Close the files and release the lock."""
        if not self._unconfirmed:
            # The next process need not publish again what is confirmed; the name of the new segment keeps its number.
            with suppress(OSError):
                self._rotate()
        if self._file >= 0:
            os.close(self._file)
        os.close(self._lock)

    # --- records

    def next_seq(self) -> int:
        """Return a sequence number that no other record of this spool has or had."""
        seq = self._next_seq
        self._next_seq += 1
        return seq

    def record_intent(self, record: AttemptRecord) -> None:
        """Write the intent to make an attempt. Raises OSError, after which no provider may be called."""
        line = record.encode()
        self._write(_INTENT, line)
        self._unconfirmed[record.spool_seq] = _Entry(record.attempt_id, line, False, [self._path])
        self._lines_in_segment[self._path] += 1

    def record_result(self, record: AttemptRecord, now: float) -> bytes:
        """Write the result and return the line to publish. `now` is any monotonic clock in seconds."""
        line = record.encode()
        entry = self._unconfirmed[record.spool_seq]
        entry.line, entry.has_result = line, True
        self._results += 1
        self._schedule(record.spool_seq, entry, now)
        try:
            self._write(_RESULT, line)
        except OSError:
            # The call was made and must be accounted for: the result stays in memory, and the intent on disk.
            _log.exception("the result of an attempt could not be spooled", extra={"attempt_id": record.attempt_id})
            return line
        entry.segments.append(self._path)
        self._lines_in_segment[self._path] += 1
        return line

    def confirm(self, spool_id: str, seqs: Iterable[int]) -> None:
        """Drop records that the ledger has committed. Sequence numbers of another spool id are ignored."""
        if spool_id != self.spool_id:
            return
        for seq in seqs:
            entry = self._unconfirmed.get(seq)
            if entry is None or not entry.has_result:
                continue
            del self._unconfirmed[seq]
            self._results -= 1
            for path in entry.segments:
                self._release(path)

    def due(self, now: float, at_most: int) -> list[SpooledResult]:
        """Return up to `at_most` results to publish again, the longest due first; each then waits twice as long.

        What an earlier process left is due at once. `now` is the clock of `record_result`.
        """
        results: list[SpooledResult] = []
        while self._due and self._due[0][0] <= now and len(results) < at_most:
            _, seq = heapq.heappop(self._due)
            entry = self._unconfirmed.get(seq)
            if entry is not None:
                self._schedule(seq, entry, now)
                results.append(SpooledResult(entry.attempt_id, entry.line))
        return results

    def left_over(self) -> Iterator[AttemptRecord]:
        """Yield the records that an earlier process left, before this one has written any."""
        for entry in self._unconfirmed.values():
            yield AttemptRecord.decode(entry.line)

    @property
    def unconfirmed(self) -> int:
        """Results that the ledger has not confirmed."""
        return self._results

    def size_bytes(self) -> int:
        """Return the size of all segments on disk."""
        return sum(path.stat().st_size for path in self._lines_in_segment if path.exists())

    def oldest_seconds(self) -> float:
        """Return how long ago the oldest result that is not confirmed began, by the wall clock; 0 if there is none."""
        for entry in self._unconfirmed.values():
            if entry.has_result:
                began = datetime.fromisoformat(orjson.loads(entry.line)["started_at"])
                return max(0.0, (datetime.now(UTC) - began).total_seconds())
        return 0.0

    # --- inside

    def _schedule(self, seq: int, entry: _Entry, now: float) -> None:
        heapq.heappush(self._due, (now + REPUBLISH.delay_seconds(entry.published), seq))
        entry.published += 1

    def _read_id(self) -> str:
        path = self._directory / "id"
        if path.exists() and (known_id := path.read_text().strip()):
            return known_id
        new_id = ids.new(ids.SPOOL)
        path.touch(mode=0o600)
        path.write_text(new_id)
        return new_id

    def _load(self, path: Path) -> None:
        """Load a segment of an earlier process: all of its attempts have ended, well or not."""
        self._next_seq = max(self._next_seq, int(path.stem))
        for line in path.read_bytes().splitlines():
            record = _read(line[1:])
            if record is None:
                # Only a power cut can tear a line; this log entry is the only sign of its attempt.
                _log.error("a line of the spool cannot be read", extra={"segment": path.name})
                self.unreadable += 1
                continue
            current = record.encode() if record.unkept else line[1:]
            entry = self._unconfirmed.get(record.spool_seq)
            if entry is None:
                entry = self._unconfirmed[record.spool_seq] = _Entry(record.attempt_id, current, True, [])
                self._results += 1
                heapq.heappush(self._due, (_DUE_NOW, record.spool_seq))
            elif line[:1] == _RESULT:
                entry.line = current
            entry.segments.append(path)
            self._lines_in_segment[path] += 1
            self._next_seq = max(self._next_seq, record.spool_seq + 1)
        if not self._lines_in_segment[path]:
            path.unlink()

    def _rotate(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            finished = self._path
            self._path = Path()
            self._drop_if_empty(finished)
        self._path = self._directory / f"{self._next_seq:016d}.log"
        self._file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._size = os.fstat(self._file).st_size

    def _write(self, tag: bytes, line: bytes) -> None:
        if self._size >= SEGMENT_BYTES:
            self._rotate()
        data = b"".join((tag, line, b"\n"))
        written = os.write(self._file, data)
        if written != len(data):
            # A full disk can accept a part. Cut it off, so that the next line does not continue a torn one.
            os.ftruncate(self._file, self._size)
            raise OSError("the disk of the spool is full")
        self._size += written

    def _release(self, path: Path) -> None:
        self._lines_in_segment[path] -= 1
        self._drop_if_empty(path)

    def _drop_if_empty(self, path: Path) -> None:
        if path != self._path and not self._lines_in_segment[path]:
            del self._lines_in_segment[path]
            path.unlink(missing_ok=True)


def _read(line: bytes) -> AttemptRecord | None:
    """Return the record of a line, reduced where an earlier build wrote what this one does not accept; None for a torn line."""
    try:
        return AttemptRecord.decode(line)
    except MalformedMessage:
        pass
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return reduce_record(document, datetime.now(UTC)) if isinstance(document, dict) else None
