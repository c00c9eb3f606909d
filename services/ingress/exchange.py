"""One HTTP exchange over ASGI: read a bounded body, answer in one piece or as events, notice that the client has gone."""

import asyncio
from collections.abc import Mapping

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

from services.ingress.problem import Problem

JSON = "application/json"
_EVENT_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class ClientGone(Exception):
    """The client closed the connection."""


class Exchange:
    """A request and its answer."""

    def __init__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.method = scope["method"]
        self.path = scope["path"]
        self.query = scope["query_string"].decode("latin-1")
        self._headers = scope["headers"]
        self._receive = receive
        self._send = send
        self.started = False
        """Whether the status line has gone out."""

    def header(self, name: bytes) -> str | None:
        """The first header of that name (lower case), decoded as Latin-1."""
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return None

    async def body(self, limit_bytes: int, within_seconds: float) -> bytes:
        """The whole request body. Raises Problem 413, 408 or 415, and ClientGone."""
        if (self.header(b"content-encoding") or "identity").lower() != "identity":
            raise Problem(
                415, "invalid_request_error", "unsupported_encoding", "send the body without Content-Encoding"
            )
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
            raise _too_large(limit_bytes)
        try:
            async with asyncio.timeout(within_seconds):
                return await self._read(limit_bytes)
        except TimeoutError:
            raise Problem(
                408,
                "invalid_request_error",
                "timeout",
                f"the request body did not arrive within {within_seconds:g} s",
                headers={"connection": "close"},
            ) from None

    async def _read(self, limit_bytes: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def gone(self) -> None:
        """Return when the client has closed the connection; only after the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, body: bytes, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """Answer in one piece."""
        self.started = True
        lines = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body)), *_encoded(headers)]
        await self._send({"type": "http.response.start", "status": status, "headers": lines, "trailers": False})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def start_events(self, headers: Mapping[str, str]) -> None:
        """Begin an event stream."""
        self.started = True
        lines = [*_EVENT_STREAM, *_encoded(headers)]
        await self._send({"type": "http.response.start", "status": 200, "headers": lines, "trailers": False})

    async def send_events(self, data: bytes, *, last: bool = False) -> None:
        """Send bytes of the event stream."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})


def _too_large(limit_bytes: int) -> Problem:
    return Problem(
        413,
        "invalid_request_error",
        "request_too_large",
        f"the request body is larger than {limit_bytes} bytes, the limit of this gateway",
        headers={"connection": "close"},
    )


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
