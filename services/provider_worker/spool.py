"""The worker's memory of attempts that the ledger has not confirmed.

Before a provider is called, an *intent* is written: the record as it must stand if nothing more is ever known
(`indeterminate`). When the attempt has ended, its *result* is written. Only the ledger's confirmation, after its commit,
lets go of either. What is written survives kill -9 (it is in the kernel); a power cut may take the last moments.

On disk: one directory, locked by its slot; `id`, the name of this life of the spool; and segments `<first seq>.log` of
lines `I<record>` and `R<record>`. A segment is deleted when everything in it is confirmed.
"""

import fcntl
import heapq
import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keyferry.contracts import ids
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.backoff import Backoff

_log = logging.getLogger(__name__)

_INTENT, _RESULT = b"I", b"R"
SEGMENT_BYTES = 4 * 1024 * 1024
REPUBLISH = Backoff(first_seconds=20.0, longest_seconds=1280.0)
"""The first delay is longer than a ledger restart, so that one repeats little; doubling keeps copies out of the stream of a
ledger that is down for long."""
_MAX_CONCURRENT = float("-inf")


class SpoolLocked(Exception):
    """Another process owns this slot's directory."""


@dataclass(slots=True)
class _Unconfirmed:
    line: bytes
    """The record that stands now: the intent until there is a result."""
    ended: bool
    segments: list[Path]
    published: int = 0
    """How often the result was handed out for publishing."""


class Spool:
    """One slot's spool. Every method is a few microseconds of file I/O at most; call it from one thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[int, _Unconfirmed] = {}
        self._ended = 0
        self._again: list[tuple[float, int]] = []
        """A heap of results that were handed out: when each is due again, and its number. What is confirmed stays until then."""
        self._in_segment: dict[Path, int] = defaultdict(int)
        self._next_seq = 1
        self._file = -1
        self._path = directory
        self._size = 0
        self._lock = -1
        self.spool_id = ""

    def open(self) -> None:
        """Lock the directory and read what an earlier process left. Raises SpoolLocked, or OSError when it cannot be used."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolLocked(f"another worker owns {self._directory}; give this one another slot") from None
        self.spool_id = self._read_id()
        for path in sorted(self._directory.glob("*.log")):
            self._read(path)
        self._rotate()

    def close(self) -> None:
        """Let the directory go."""
        os.close(self._file)
        os.close(self._lock)

    # --- the life of a record

    def next_seq(self) -> int:
        """A sequence number that no other record of this spool has or had."""
        seq = self._next_seq
        self._next_seq += 1
        return seq

    def record_intent(self, record: AttemptRecord) -> None:
        """Write that `record.spool_seq` is about to be called. Raises OSError, on which nothing may be called."""
        line = record.encode()
        self._write(_INTENT, line)
        self._held[record.spool_seq] = _Unconfirmed(line, False, [self._path])
        self._in_segment[self._path] += 1

    def record_result(self, record: AttemptRecord, now: float) -> bytes:
        """Write the result; the line to publish at `now`, which is any monotonic clock in seconds."""
        line = record.encode()
        held = self._held[record.spool_seq]
        held.line, held.ended = line, True
        self._ended += 1
        self._hand_out(record.spool_seq, held, now)
        try:
            self._write(_RESULT, line)
        except OSError:
            # The call is made and must be accounted for: it stays in memory, and the intent stands on disk.
            _log.exception("the result of an attempt could not be spooled", extra={"attempt_id": record.attempt_id})
            return line
        held.segments.append(self._path)
        self._in_segment[self._path] += 1
        return line

    def confirm(self, spool_id: str, seqs: Iterable[int]) -> None:
        """The ledger has these. Numbers of another life of the spool are not ours."""
        if spool_id != self.spool_id:
            return
        for seq in seqs:
            held = self._held.get(seq)
            if held is None or not held.ended:
                continue
            del self._held[seq]
            self._ended -= 1
            for path in held.segments:
                self._release(path)

    def due(self, now: float, at_most: int) -> list[bytes]:
        """Up to `at_most` results to publish again, those that have waited longest first; each then waits twice as long.

        What an earlier process left is due at once. `now` is the clock of `finish`.
        """
        lines: list[bytes] = []
        while self._again and self._again[0][0] <= now and len(lines) < at_most:
            _, seq = heapq.heappop(self._again)
            held = self._held.get(seq)
            if held is not None:
                self._hand_out(seq, held, now)
                lines.append(held.line)
        return lines

    @property
    def unconfirmed(self) -> int:
        """Results that the ledger has not confirmed."""
        return self._ended

    # --- inside

    def _hand_out(self, seq: int, held: _Unconfirmed, now: float) -> None:
        heapq.heappush(self._again, (now + REPUBLISH.delay_seconds(held.published), seq))
        held.published += 1

    def _read_id(self) -> str:
        path = self._directory / "id"
        if path.exists():
            return path.read_text().strip()
        fresh = ids.new(ids.SPOOL)
        path.write_text(fresh)
        return fresh

    def _read(self, path: Path) -> None:
        """Take in a segment of an earlier process: its attempts are all over, well or not."""
        self._next_seq = max(self._next_seq, int(path.stem))
        for line in path.read_bytes().splitlines():
            try:
                record = AttemptRecord.decode(line[1:])
            except MalformedMessage:
                # Only a power cut can tear a line; its attempt is lost to us and shows in no other way.
                _log.error("a line of the spool cannot be read", extra={"segment": path.name})
                continue
            held = self._held.get(record.spool_seq)
            if held is None:
                held = self._held[record.spool_seq] = _Unconfirmed(line[1:], True, [])
                self._ended += 1
                heapq.heappush(self._again, (_MAX_CONCURRENT, record.spool_seq))
            elif line[:1] == _RESULT:
                held.line = line[1:]
            held.segments.append(path)
            self._in_segment[path] += 1
            self._next_seq = max(self._next_seq, record.spool_seq + 1)
        if not self._in_segment[path]:
            path.unlink()

    def _rotate(self) -> None:
        if self._file >= 0:
            os.close(self._file)
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
            # A full disk can take a part. Cut it off, so that the next line does not continue a torn one.
            os.ftruncate(self._file, self._size)
            raise OSError("the disk of the spool is full")
        self._size += written

    def _release(self, path: Path) -> None:
        self._in_segment[path] -= 1
        self._drop_if_empty(path)

    def _drop_if_empty(self, path: Path) -> None:
        if path != self._path and not self._in_segment[path]:
            del self._in_segment[path]
            path.unlink(missing_ok=True)
