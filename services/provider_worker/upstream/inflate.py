"""Decompresses responses that were compressed unasked, in steps, so that a small bomb cannot fill memory. Pure."""

import zlib
from collections.abc import Iterator

STEP_BYTES = 64 * 1024
"""The most that is decompressed before the caller has seen it."""
MAX_RATIO = 200
"""Above the ratio of JSON or events, below the 1032:1 that deflate can reach."""
_RATIO_FREE_BYTES = 1024 * 1024
"""Short answers may be more repetitive than long ones."""
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class CannotInflate(ValueError):
    """The body is not what its content coding says, or inflates too far. The message may be shown to a tenant."""


class Inflater:
    """Decompresses one body of the content coding gzip, x-gzip or deflate.

    Raises CannotInflate for every other coding, lists of codings included.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding.strip().lower()
        if self._coding not in _WINDOWS:
            raise CannotInflate("the answer is compressed in a way that was not asked for")
        self._decompressor = zlib.decompressobj(_WINDOWS[self._coding])
        self._received_bytes = 0
        self._output_bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompress `data`, in pieces of at most STEP_BYTES. Raises CannotInflate."""
        if self._received_bytes == 0 and self._coding == "deflate" and not _has_zlib_head(data):
            # Some servers send raw deflate as `deflate`, against RFC 9110 section 8.4.1.2.
            self._decompressor = zlib.decompressobj(_RAW)
        self._received_bytes += len(data)
        while data and not self._decompressor.eof:
            try:
                piece = self._decompressor.decompress(data, STEP_BYTES)
            except zlib.error:
                raise CannotInflate("the answer is not compressed as its headers say") from None
            self._output_bytes += len(piece)
            if self._output_bytes > max(_RATIO_FREE_BYTES, MAX_RATIO * self._received_bytes):
                raise CannotInflate(f"the answer inflates to more than {MAX_RATIO} times its size")
            if piece:
                yield piece
            data = self._decompressor.unconsumed_tail
        if data or self._decompressor.unused_data:
            raise CannotInflate("the answer goes on after its compressed end")

    def close(self) -> None:
        """Check at the end of the body that the compressed data is complete. Raises CannotInflate."""
        if self._received_bytes and not self._decompressor.eof:
            raise CannotInflate("the compressed answer ended before it was complete")


def _has_zlib_head(data: bytes) -> bool:
    """Return whether `data` begins with a zlib header (RFC 1950 section 2.2); raw deflate of JSON does not."""
    return bool(data) and data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
