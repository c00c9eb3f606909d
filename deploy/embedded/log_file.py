"""Log files of child processes, rotated by size so that a crash loop cannot fill the disk."""

from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 10_000_000
KEPT = 3
"""How many rotated files are kept: `<name>.log.1` is the newest."""


class LogFile:
    """An append-only file of at most about `max_bytes` plus one write. Disk errors propagate as OSError."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    def write(self, data: bytes) -> None:
        """Append `data`; rotate only at the end of a line."""
        self._file.write(data)
        if self._file.tell() >= self._max_bytes and data.endswith(b"\n"):
            self._rotate()

    @property
    def size_bytes(self) -> int:
        """Size of the current file."""
        return self.path.stat().st_size

    def tail(self, since_bytes: int = 0, max_bytes: int = 4000) -> str:
        """Return the end of what was written after offset `since_bytes`, for an error message."""
        size = self.size_bytes
        with self.path.open("rb") as file:
            file.seek(max(0, size - max_bytes, since_bytes if since_bytes <= size else 0))
            return file.read().decode(errors="replace").strip()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> BinaryIO:
        return self.path.open("ab", buffering=0)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._kept, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        self._file = self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
