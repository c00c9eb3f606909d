"""aiohttp's client protocol with three rules of its own for what a provider sends.

- Bytes behind a complete response are not part of it. aiohttp's parser rejects them, and with them the response if both came
  at once. The response is used, the connection closed: nothing that a provider sends unasked may answer another request.
- The head is bounded in bytes and in informational responses (1xx), whatever their number.
- While a body is read, only its own bytes are progress: a provider that drips chunk sizes or trailers says nothing.
"""

import asyncio
import re
from typing import Any, Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import StreamReader

MAX_HEAD_BYTES: Final = 64 * 1024
"""The most that a head may take, with all informational responses before it."""
MAX_INFORMATIONAL: Final = 16
"""Informational responses before the final one; real servers send one or two."""

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_OVERLAP_BYTES: Final = 3


class ResponseProtocol(ResponseHandler):
    """Reads the responses of one connection, one for each `set_response_params`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.broken_body: StreamReader | None = None
        """The body that ended because its framing is invalid; what came before can still be read."""
        self._body: StreamReader | None = None
        """The body of the response, once its head is complete."""
        self._expecting = False
        self._head_bytes = 0
        self._informational = 0
        self._overlap = b""
        self._progress_at = 0.0
        self._body_bytes = 0

    def set_response_params(self, **params: Any) -> None:
        """Expect one response."""
        self._body, self._expecting = None, True
        self._head_bytes = self._informational = self._body_bytes = 0
        self._overlap = b""
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Read bytes of the response; close the connection for any behind it."""
        while data and self._body is None and self._expecting:
            data = self._receive_head(data)
        if not data and self._body is None:
            return
        if not self._expecting or (self._body is not None and self._body.is_eof()):
            if data:
                self._close_after_surplus()
            return
        super().data_received(data)
        body = self._body
        if body is None:
            return
        if body.total_bytes != self._body_bytes:
            self._body_bytes = body.total_bytes
            self._progress_at = self._loop.time()
        if self._exception is not None and not body.is_eof() and body.exception() is None:
            # aiohttp ends neither the body nor the wait for it after an error in its framing.
            self.broken_body = body
            body.feed_eof()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a response whose head is complete."""
        code = data[0].code
        if 100 <= code < 200 and code != 101:
            self._informational += 1
        elif self._body is None:
            self._body = data[1]
        else:
            self._close_after_surplus()
            return
        super().feed_data(data, size)

    def start_timeout(self) -> None:
        """Begin a pause anew, as after a change of its limit."""
        self._drop_timeout()
        self._reschedule_timeout()

    def _receive_head(self, data: bytes) -> bytes:
        """Read up to the end of the next head; return the bytes behind it."""
        found = _HEAD_END.search(self._overlap + data)
        end = len(data) if found is None else max(found.end() - len(self._overlap), 1)
        head, rest = data[:end], data[end:]
        self._overlap = b"" if found is not None else (self._overlap + data)[-_OVERLAP_BYTES:]
        self._head_bytes += len(head)
        super().data_received(head)
        self._progress_at = self._loop.time()
        if self._exception is not None:
            return b""
        if self._body is None and (self._head_bytes > MAX_HEAD_BYTES or self._informational > MAX_INFORMATIONAL):
            self._refuse_head()
            return b""
        return rest

    def _refuse_head(self) -> None:
        self._expecting = False
        self._buffer.clear()
        self.set_exception(BadHttpMessage("the head is too large"))
        if self.transport is not None:
            self.transport.close()

    def _close_after_surplus(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.close()

    def _reschedule_timeout(self) -> None:
        # aiohttp calls this for any byte. The timer that runs goes on: it asks for progress when it fires.
        if self._read_timeout_handle is None:
            self._progress_at = self._loop.time()
            super()._reschedule_timeout()

    def _on_read_timeout(self) -> None:
        self._read_timeout_handle = None
        left_seconds = self._progress_at + (self._read_timeout or 0) - self._loop.time()
        if left_seconds > 0:
            self._read_timeout_handle = self._loop.call_later(left_seconds, self._on_read_timeout)
        else:
            super()._on_read_timeout()
