"""Parses the objects of a JSON list from bytes that are cut anywhere.

Google streams one list, `[{…},\\r\\n{…}]`, if a request lacks `alt=sse`: a base URL that drops the query does that.
"""

import re

_MARKS = re.compile(rb'["\\{}\[\]]')
_PLAIN = re.compile(rb'["\\]')


class ArrayParser:
    """Collects the objects of a list, or bare ones. Yields nothing more once `overflow` is true."""

    def __init__(self, max_object_bytes: int) -> None:
        self.overflow = False
        self.closed = False
        """Whether the list has ended."""
        self._max_object_bytes = max_object_bytes
        self._pieces: list[bytes] = []
        self._kept_bytes = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the objects that `data` completes, each as its JSON text."""
        objects: list[bytes] = []
        start, position = 0, 0
        while not (self.overflow or self.closed) and position < len(data):
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            mark = (_PLAIN if self._in_string else _MARKS).search(data, position)
            if mark is None:
                break
            position = mark.end()
            opens_object = self._process_mark(mark[0])
            if opens_object:
                start = mark.start()
            elif opens_object is False:
                self._keep(data[start:position])
                if not self.overflow:
                    objects.append(self._take())
        if self._depth and not self.overflow:
            self._keep(data[start:])
        return objects

    def _process_mark(self, mark: bytes) -> bool | None:
        """Process one structural byte; return true if it begins an object, false if it completes one, null otherwise."""
        if mark == b"\\":
            self._escaped = self._in_string
        elif mark == b'"':
            self._in_string = not self._in_string and self._depth > 0
        elif mark in b"{[":
            # The list around the objects is not counted, so that a bare object is read the same way.
            if self._depth or mark == b"{":
                self._depth += 1
                return True if self._depth == 1 else None
        elif self._depth:
            self._depth -= 1
            return False if self._depth == 0 else None
        else:
            self.closed = self.closed or mark == b"]"
        return None

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._kept_bytes += len(piece)
        self.overflow = self._kept_bytes > self._max_object_bytes

    def _take(self) -> bytes:
        text = b"".join(self._pieces)
        self._pieces.clear()
        self._kept_bytes = 0
        return text
