"""Reading a request body within a size and a time limit."""

import asyncio
from dataclasses import dataclass

from keyferry.contracts.text import parse_digits
from keyferry.runtime.http.asgi import Receive, Scope, get_header
from keyferry.runtime.http.problem import CLOSE_CONNECTION, INVALID_REQUEST, HttpProblem

_LENGTH_DIGITS = 18
"""Enough to detect a Content-Length over any limit, and few enough to parse cheaply."""


class ClientDisconnected(Exception):
    """The client closed the connection."""


@dataclass(frozen=True, slots=True)
class RequestBodyLimits:
    """What a request body may cost. `owner` says in errors whose limit it is."""

    max_bytes: int
    timeout_seconds: float
    owner: str

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Read the whole request body.

        Raises HttpProblem 408, 413 and 415, and ClientDisconnected.
        """
        if (get_header(scope, b"content-encoding") or "identity").lower() != "identity":
            message = "send the body without Content-Encoding"
            raise HttpProblem(415, INVALID_REQUEST, "unsupported_encoding", message, headers=dict(CLOSE_CONNECTION))
        declared = get_header(scope, b"content-length")
        if declared is not None and (parse_digits(declared[:_LENGTH_DIGITS]) or 0) > self.max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._receive_all(receive)
        except TimeoutError:
            message = f"the request body did not arrive within {self.timeout_seconds:g} s"
            raise HttpProblem(408, INVALID_REQUEST, "timeout", message, headers=dict(CLOSE_CONNECTION)) from None

    async def _receive_all(self, receive: Receive) -> bytes:
        body = bytearray()  # and not a list: a body may come in millions of pieces
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            body += message.get("body", b"")
            if len(body) > self.max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> HttpProblem:
        message = f"the request body is larger than {self.max_bytes} bytes, the limit of {self.owner}"
        return HttpProblem(413, INVALID_REQUEST, "request_too_large", message, headers=dict(CLOSE_CONNECTION))
