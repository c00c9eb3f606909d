"""A parser that begins behind the head of a request, for the body of a request whose upgrade is ignored.

httptools stops at the end of a head with `Upgrade`, as if the other protocol followed. Java's HTTP client asks for HTTP/2 in this
way with every request over plain HTTP, also with a body (RFC 7540, section 3.2); a server that does not switch reads it
(RFC 9110, section 7.8).
"""

from typing import Protocol

import httptools


class BodyCallbacks(Protocol):
    """What takes the pieces of a body, and refuses bytes behind it."""

    def on_message_begin(self) -> None:
        """Refuse a request behind the body."""

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""

    def on_message_complete(self) -> None:
        """Take the end of the body."""


class _BehindHead:
    """Passes on what is parsed behind the first head, from which the parser only learns how the body ends."""

    def __init__(self, callbacks: BodyCallbacks) -> None:
        self._callbacks = callbacks
        self._begun = False
        self.on_body = callbacks.on_body
        self.on_message_complete = callbacks.on_message_complete

    def on_message_begin(self) -> None:
        if self._begun:
            self._callbacks.on_message_begin()
        self._begun = True


def parser_of_body(callbacks: BodyCallbacks, length: int | None) -> httptools.HttpRequestParser:
    """Return a parser of a body of `length` bytes, or of a chunked one if that is None."""
    framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    parser = httptools.HttpRequestParser(_BehindHead(callbacks))
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
    return parser
