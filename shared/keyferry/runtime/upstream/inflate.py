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


_GZIP_MAGIC = b"\x1f\x8b\x08"
"""The beginning of a gzip part: its two magic bytes, and deflate as the method."""


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
        self._behind = b""
        """The first bytes behind the end of a gzip part, until they show whether another part begins."""

    @property
    def ended(self) -> bool:
        """Whether the compressed data is complete and whatever follows is not part of it, as padding is not."""
        more = _WINDOWS[self._coding] == _GZIP and (not self._behind or _GZIP_MAGIC.startswith(self._behind))
        return self._decompressor.eof and not more

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompress `data`, in pieces of at most STEP_BYTES. Raises CannotInflate.

        gzip may have several parts (RFC 1952 section 2.2); other bytes behind the end are left out.
        """
        if self._received_bytes == 0 and self._coding == "deflate" and not _has_zlib_head(data):
            # Some servers send raw deflate as `deflate`, against RFC 9110 section 8.4.1.2.
            self._decompressor = zlib.decompressobj(_RAW)
        self._received_bytes += len(data)
        while data and not self.ended:
            if self._decompressor.eof:
                data = self._begin_part(data)
                continue
            try:
                piece = self._decompressor.decompress(data, STEP_BYTES)
            except zlib.error:
                raise CannotInflate("the answer is not compressed as its headers say") from None
            self._output_bytes += len(piece)
            if self._output_bytes > max(_RATIO_FREE_BYTES, MAX_RATIO * self._received_bytes):
                raise CannotInflate(f"the answer inflates to more than {MAX_RATIO} times its size")
            if piece:
                yield piece
            data = self._decompressor.unconsumed_tail or self._decompressor.unused_data

    def _begin_part(self, data: bytes) -> bytes:
        """Return the bytes of the next part, if `data` shows that one begins; else nothing."""
        self._behind += data
        if not self._behind.startswith(_GZIP_MAGIC):
            return b""
        data, self._behind = self._behind, b""
        self._decompressor = zlib.decompressobj(_GZIP)
        return data

    def close(self) -> None:
        """Check at the end of the body that the compressed data is complete. Raises CannotInflate."""
        if self._received_bytes and not self._decompressor.eof:
            raise CannotInflate("the compressed answer ended before it was complete")


def _has_zlib_head(data: bytes) -> bool:
    """Return whether `data` begins with a zlib header (RFC 1950 section 2.2); raw deflate of JSON does not."""
    return bool(data) and data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
