"""Parses AWS's binary event stream from bytes that are cut anywhere.

Source of the format: the AWS documentation, "Event stream encoding" (`application/vnd.amazon.eventstream`): a prelude
of two big-endian lengths and its CRC-32, headers, a payload, and the CRC-32 of everything before it.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Largest frame that is assembled; the format would allow 16 MiB and more, which would fill the worker's memory."""

_PRELUDE_BYTES = 12
_OVERHEAD_BYTES = 16
_STRING = 7
_FIXED: Mapping[int, int] = MappingProxyType({0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16})
"""Header value type -> bytes of its value; 6 (bytes) and 7 (string) carry a length of their own."""
_COUNTED = (6, _STRING)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: its string headers and its payload."""

    headers: Mapping[str, str]
    payload: bytes


class FrameParser:
    """Collects frames. Yields nothing more once `damage` is set."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.damage: str | None = None
        """What is wrong with the stream, as a message for the tenant."""
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._frame_bytes = 0
        """Length of the frame that is being collected; 0 until its prelude has arrived."""
        self._headers_bytes = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes."""
        if self.damage is not None:
            return []
        self._buffer += data
        frames: list[Frame] = []
        while self._read_prelude() and len(self._buffer) >= self._frame_bytes:
            content = bytes(self._buffer[: self._frame_bytes])
            del self._buffer[: self._frame_bytes]
            self._frame_bytes = 0
            frame = self._parse_frame(content)
            if frame is None:
                break
            frames.append(frame)
        return frames

    def _read_prelude(self) -> bool:
        if self._frame_bytes:
            return True
        if len(self._buffer) < _PRELUDE_BYTES:
            return False
        frame_bytes, headers_bytes, checksum = struct.unpack(">III", self._buffer[:_PRELUDE_BYTES])
        if zlib.crc32(self._buffer[:8]) != checksum:
            self.damage = "The provider sent a damaged event stream: the checksum of a frame's length is wrong."
        elif frame_bytes > self._max_frame_bytes:
            limit_mib = self._max_frame_bytes // (1024 * 1024)
            self.damage = f"The provider sent a stream event larger than {limit_mib} MiB."
        elif frame_bytes < _OVERHEAD_BYTES + headers_bytes:
            self.damage = "The provider sent a damaged event stream: a frame is shorter than its headers."
        else:
            self._frame_bytes, self._headers_bytes = frame_bytes, headers_bytes
        return self.damage is None

    def _parse_frame(self, content: bytes) -> Frame | None:
        (checksum,) = struct.unpack(">I", content[-4:])
        if zlib.crc32(content[:-4]) != checksum:
            self.damage = "The provider sent a damaged event stream: the checksum of a frame is wrong."
            return None
        end = _PRELUDE_BYTES + self._headers_bytes
        headers = _parse_headers(content[_PRELUDE_BYTES:end])
        if headers is None:
            self.damage = "The provider sent a damaged event stream: the headers of a frame cannot be read."
            return None
        return Frame(headers, content[end:-4])


def _parse_headers(data: bytes) -> dict[str, str] | None:
    """Return the headers with string values; null if `data` is not a list of headers."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        if name_end >= len(data):
            return None
        name, kind = data[at + 1 : name_end], data[name_end]
        start = name_end + 1
        if kind in _COUNTED:
            if start + 2 > len(data):
                return None
            length = int.from_bytes(data[start : start + 2], "big")
            start += 2
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            return None
        at = start + length
        if at > len(data):
            return None
        if kind == _STRING:
            headers[name.decode("utf-8", "replace")] = data[start:at].decode("utf-8", "replace")
    return headers
