"""Parses server-sent events from bytes that are cut anywhere.

Source of the rules: the HTML standard, section 9.2.6 "Interpreting an event stream". Three deviations: an event without
data is dropped whatever its name; the last event may lack its blank line (`finish`), because providers close without
one; and so may others where it is evident: in JSON no object directly follows another, so a line that begins one begins
a new event.
"""

from typing import NamedTuple

MAX_EVENT_BYTES = 1024 * 1024
"""Largest event that is assembled; an unbounded one would let a provider fill the worker's memory."""

BEFORE_BODY = b" \t\r\n\0\xef\xbb\xbf"
"""Bytes that may stand before a body without being part of it: white space, padding, a byte order mark."""

_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event: its name (empty if it has none) and its data lines joined by newlines."""

    name: bytes
    data: bytes


class EventParser:
    """Collects events. Yields nothing more once `overflow` is true."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.overflow = False
        self._max_event_bytes = max_event_bytes
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._lines: list[bytes] = []
        self._lines_bytes = 0
        self._name = b""
        self._skip_newline = False
        self._at_start = True

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes."""
        if self._skip_newline and data:
            self._skip_newline = False
            data = data[1:] if data[:1] == b"\n" else data
        if self.overflow or not data:
            return []
        if b"\r" not in data:
            if b"\n" not in data:
                self._keep(data)
                return []
            if data[:6] == b"data: " and data.find(b"\n") == len(data) - 2 and self._is_idle(data):
                # One event of one line, in one piece: what nearly all of them are, at a fraction of the cost.
                return [ServerSentEvent(b"", data[6:-2])]
        return self._read_lines(data)

    def finish(self) -> list[ServerSentEvent]:
        """End the stream: return the event that lacks its blank line, if there is one."""
        return [] if self.overflow else self._read_lines(b"\n\n")

    def _is_idle(self, data: bytes) -> bool:
        if self._pieces or self._lines or self._name or len(data) > self._max_event_bytes or data[-1] != 10:
            return False
        self._at_start = False
        return True

    def _keep(self, piece: bytes) -> None:
        # Pieces are joined once per line: joining at every feed would be quadratic for a line that comes byte by byte.
        self._pieces.append(piece)
        self._pieces_bytes += len(piece)
        self.overflow = self._pieces_bytes + self._lines_bytes > self._max_event_bytes

    def _read_lines(self, data: bytes) -> list[ServerSentEvent]:
        if self._pieces:
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
            self._pieces_bytes = 0
        lines = data.splitlines()
        rest = b"" if data[-1] in b"\r\n" else lines.pop()
        # A carriage return ends a line by itself; a newline that follows in the next piece belongs to it.
        self._skip_newline = data[-1] == 13
        events: list[ServerSentEvent] = []
        for line in lines:
            if line:
                if self._lines and self._begins_another(line):
                    events.append(self._take())
                self._read_line(line)
            elif self._lines:
                events.append(self._take())
            else:
                self._name = b""
            if self.overflow:
                return events
        if rest:
            self._keep(rest)
        return events

    def _begins_another(self, line: bytes) -> bool:
        """Return whether `line` cannot belong to the event collected so far, though no blank line separates them."""
        if self._lines[-1][-1:] != b"}":
            return False
        field, _, value = line.partition(b":")
        return value.lstrip()[:1] in (b"{", b"[") if field == b"data" else field == b"event" and self._name != b""

    def _read_line(self, line: bytes) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        field, _, value = line.partition(b":")
        if field == b"data":
            self._lines.append(value[1:] if value[:1] == b" " else value)
            self._lines_bytes += len(value)
            self.overflow = self._lines_bytes > self._max_event_bytes
        elif field == b"event":
            self._name = value[1:] if value[:1] == b" " else value

    def _take(self) -> ServerSentEvent:
        event = ServerSentEvent(self._name, self._lines[0] if len(self._lines) == 1 else b"\n".join(self._lines))
        self._lines.clear()
        self._lines_bytes = 0
        self._name = b""
        return event
