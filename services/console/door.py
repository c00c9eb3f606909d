"""The door: nothing of a request is read before its credential is known, and nothing of it beyond its limits."""

import asyncio
import logging
from collections.abc import Callable

from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyferry.contracts import ids
from keyferry.runtime.process.telemetry import Span, Telemetry
from services.console.acting import CALLER
from services.console.credential import Caller, Unauthenticated
from services.console.json_depth import deeper_than
from services.console.problem import INVALID_REQUEST, Problem, error_body

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_JSON_DEPTH = 16
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What load balancers ask, without a credential."""
REQUEST_ID = "keyferry.request_id"
"""Where the door leaves the request's id, in its scope."""

_ON_EVERY_ANSWER = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_CLOSE = {"connection": "close"}


class _ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class Door:
    """Wraps the ASGI application of the routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        identify: Callable[[str | None], Caller],
        waiting_for: Callable[[], list[str]],
        telemetry: Telemetry,
        upload_timeout_seconds: float,
    ) -> None:
        self._app = app
        self._identify = identify
        self._waiting_for = waiting_for
        self._telemetry = telemetry
        self._upload_timeout_seconds = upload_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request. `identify` raises Unauthenticated."""
        if scope["type"] != "http":
            return
        request_id = ids.new(ids.REQUEST)
        scope[REQUEST_ID] = request_id
        span = self._telemetry.start("management", _header(scope, b"traceparent"), kind=SpanKind.SERVER)
        answer = _Answer(send, request_id, span)
        try:
            body = await self._admitted(scope, receive)
            await self._app(scope, _replaying(body, receive), answer.send)
        except _ClientGone:
            _log.info("the client went away", extra={"request_id": request_id, "status": 499})
        except Problem as problem:
            await answer.report(problem)
        except Exception:  # the edge of the exchange: the caller gets an answer, and the defect is in the log
            _log.exception("a request failed", extra={"request_id": request_id})
            await answer.report(internal_error())
        finally:
            route = scope.get("route")
            span.set(keyferry__request_id=request_id, http__route=getattr(route, "path", None))
            span.end()

    async def _admitted(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a request that may come in. Raises Problem."""
        if scope["path"] not in OPEN_PATHS:
            try:
                scope[CALLER] = self._identify(_header(scope, b"authorization"))
            except Unauthenticated as error:
                headers = {"www-authenticate": "Bearer", **_CLOSE}
                raise Problem(401, "authentication_error", "invalid_api_key", str(error), headers=headers) from None
            if waiting := self._waiting_for():
                message = f"the console is not ready: it waits for {', '.join(waiting)}"
                headers = {"retry-after": "1", **_CLOSE}
                raise Problem(503, "overloaded_error", "unavailable", message, headers=headers)
        body = await self._body(scope, receive)
        _require_plain(body)
        return body

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if (_header(scope, b"content-encoding") or "identity").lower() != "identity":
            message = "send the body without Content-Encoding"
            raise Problem(415, INVALID_REQUEST, "unsupported_encoding", message, headers=_CLOSE)
        declared = _header(scope, b"content-length")
        if declared is not None and declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
            raise _too_large()
        try:
            async with asyncio.timeout(self._upload_timeout_seconds):
                return await _read(receive)
        except TimeoutError:
            message = f"the request body did not arrive within {self._upload_timeout_seconds:g} s"
            raise Problem(408, INVALID_REQUEST, "timeout", message, headers=_CLOSE) from None


class _Answer:
    """The way back: what stands on every answer, and whether it has begun."""

    def __init__(self, send: Send, request_id: str, span: Span) -> None:
        self._send = send
        self._request_id = request_id
        self._span = span
        self._started = False

    async def send(self, message: Message) -> None:
        """Pass a message of the application on."""
        if message["type"] == "http.response.start":
            self._started = True
            self._span.set(http__response__status_code=message["status"])
            own = (*_ON_EVERY_ANSWER, (b"x-request-id", self._request_id.encode()))
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await self._send(message)

    async def report(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self._started:
            return
        body = error_body(problem, self._request_id)
        fixed = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers = [*fixed, *((name.encode(), value.encode()) for name, value in problem.headers.items())]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def internal_error() -> Problem:
    """500: our own fault, of which the caller learns no more."""
    return Problem(500, "api_error", "internal_error", "the console failed; its log says more, under this request id")


def _header(scope: Scope, name: bytes) -> str | None:
    """The first header of that name (lower case), decoded as Latin-1."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _ClientGone
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _require_plain(body: bytes) -> None:
    """Nothing for a body that the parser may have. Raises Problem 400."""
    if b"\x00" in body:  # UTF-16 and UTF-32, which the parser would take, and whose depth reads otherwise
        raise Problem(400, INVALID_REQUEST, "invalid_json", "the body must be JSON in UTF-8 (RFC 8259, section 8.1)")
    if deeper_than(body, MAX_JSON_DEPTH):
        message = f"the body is nested deeper than {MAX_JSON_DEPTH} levels"
        raise Problem(400, INVALID_REQUEST, "invalid_json", message)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """The body once more for the application, then whatever the connection says."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def _too_large() -> Problem:
    message = f"the request body is larger than {MAX_BODY_BYTES} bytes, the limit of the management API"
    return Problem(413, INVALID_REQUEST, "request_too_large", message, headers=_CLOSE)
