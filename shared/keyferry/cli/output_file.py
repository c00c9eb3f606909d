"""Files that commands write."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO


@contextmanager
def destination(output: Path | None) -> Iterator[TextIO]:
    """Provide standard output, or a file that gets its name when it is complete."""
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(output)
    except BaseException:  # also when it is interrupted: nothing half done stays
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def destination_bytes(output: Path) -> Iterator[BinaryIO]:
    """Provide a file of bytes that gets its name when it is complete."""
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(output)
    except BaseException:  # also when it is interrupted: nothing half done stays
        with suppress(OSError):
            part.unlink()
        raise
