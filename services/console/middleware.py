"""ASGI middleware around every request: authentication first, then body limits; security headers on every response.

The page's files, the addresses under which people sign in, and webhooks need no credential.
"""

import logging
import time
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from keyferry.contracts import ids
from keyferry.contracts.audit import CommandChannel, CommandSource
from keyferry.contracts.traces import SpanKind
from keyferry.runtime.command_source import source_scope
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.http.asgi import Application, Message, Receive, Scope, Send, get_header
from keyferry.runtime.http.body import ClientDisconnected, RequestBodyLimits
from keyferry.runtime.http.credential import ConflictingCredentials
from keyferry.runtime.http.problem import CLOSE_CONNECTION, INVALID_REQUEST, HttpProblem, render_error
from keyferry.runtime.http.repeated_names import find_repeated_name
from keyferry.runtime.tracing.span import Span, work_for
from keyferry.runtime.tracing.telemetry import Telemetry
from services.console.access import COMMANDS_PATH
from services.console.authentication import InvalidCredential, Principal
from services.console.bodies import exceeds_depth
from services.console.incoming_webhooks import is_webhook
from services.console.live_events.response import EVENT_STREAM
from services.console.metrics import ManagementRequest
from services.console.page.paths import is_page
from services.console.problem import internal_error
from services.console.tenant_context import PRINCIPAL, TRACED_TENANT

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
MAX_JSON_DEPTH = 16
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths for load balancers, which need no credential."""
SIGN_IN_PREFIX = "/auth/"
"""Under it, people sign in; nothing there needs a credential."""
REQUEST_ID = "keyferry.request_id"
"""The key in a request's scope under which its id is stored."""

_OWN_HEADERS = ((b"cache-control", b"no-store"), (b"cross-origin-resource-policy", b"same-origin"))
"""Besides those of the server, where an answer has no other ones."""

_EVENT_STREAM = EVENT_STREAM.encode()
_COMMANDS = COMMANDS_PATH.partition("{")[0]


class ManagementMiddleware:
    """Wraps the ASGI application of the routes. No body is read before its sender is authenticated."""

    def __init__(
        self,
        app: Application,
        *,
        authenticate: Callable[[Scope], Awaitable[Principal]],
        sign_in: Application,
        page: Application,
        webhooks: Application,
        waiting_for: Callable[[], list[str]],
        telemetry: Telemetry,
        upload_timeout_seconds: float,
        failures: AddressLimiter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._authenticate = authenticate
        self._sign_in = sign_in
        self._page = page
        self._webhooks = webhooks
        self._waiting_for = waiting_for
        self._telemetry = telemetry
        self._clock = clock
        self._failures = failures
        self._body_limits = RequestBodyLimits(MAX_BODY_BYTES, upload_timeout_seconds, "the management API")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. `failures` limits how often an address may send a bad credential.

        `authenticate` raises InvalidCredential, ConflictingCredentials and HttpProblem.
        """
        if scope["type"] != "http":
            return
        request_id = ids.new(ids.REQUEST)
        scope[REQUEST_ID] = request_id
        span = self._telemetry.start(
            "management", get_header(scope, b"traceparent"), kind=SpanKind.SERVER, from_outside=True
        )
        work_for(span)
        response = _Response(send, request_id, span)
        counted = ManagementRequest(scope)
        try:
            body = await self._admit(scope, receive)
            with source_scope(_source_of(scope, request_id)):
                await self._application_of(scope)(scope, _replay(body, receive), response.send)
        except ClientDisconnected:
            _log.info("the client closed the connection", extra={"request_id": request_id, "status": 499})
        except HttpProblem as problem:
            await response.report(problem)
        except Exception:  # the outermost edge: the client gets an answer, and the defect is in the log
            _log.exception("a request failed", extra={"request_id": request_id})
            await response.report(internal_error())
        finally:
            counted.end(response.status)
            self._end(span, scope, response)
            work_for(None)

    def _end(self, span: Span, scope: Scope, response: "_Response") -> None:
        """End the span of a request; its trace is kept if it failed or was slow."""
        path = getattr(scope.get("route"), "path", None)
        if path is not None:
            span.name = f"{scope['method']} {path}"
        span.set(keyferry__request_id=scope[REQUEST_ID], keyferry__tenant=scope.get(TRACED_TENANT), http__route=path)
        if response.streams and span.error is None:
            span.end()  # it lasted for as long as somebody had the page open
        else:
            self._telemetry.finish(span)

    def _application_of(self, scope: Scope) -> Application:
        if _is_sign_in(scope):
            return self._sign_in
        if is_webhook(scope["path"]):
            return self._webhooks
        return self._page if is_page(scope["path"]) else self._app

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        """Authenticate the request and return its body. Raises HttpProblem and ClientDisconnected."""
        if scope["path"] in OPEN_PATHS or is_page(scope["path"]):
            return b""
        try:
            if not _is_sign_in(scope) and not is_webhook(scope["path"]):
                scope[PRINCIPAL] = await self._authenticate(scope)
        except (InvalidCredential, ConflictingCredentials) as error:
            self._count_failure(scope)
            headers = {"www-authenticate": "Bearer", **CLOSE_CONNECTION}
            raise HttpProblem(401, "authentication_error", "invalid_api_key", str(error), headers=headers) from None
        if waiting := self._waiting_for():
            message = f"the console is not ready: waiting for {', '.join(waiting)}"
            headers = {"retry-after": "1", **CLOSE_CONNECTION}
            raise HttpProblem(503, "overloaded_error", "unavailable", message, headers=headers)
        body = await self._body_limits.read(scope, receive)
        # What a webhook's signature covers are its bytes, whatever they say; the billing reads them once they are verified.
        if not is_webhook(scope["path"]):
            _require_plain_json(body)
        return body

    def _count_failure(self, scope: Scope) -> None:
        """Count a bad credential of the client's address, if the request has one. Raises HttpProblem 429 after too many.

        A good credential is accepted from any address: those who share one with an attacker are not locked out.
        """
        client = scope.get("client")
        if get_header(scope, b"authorization") is None and get_header(scope, b"cookie") is None:
            return
        try:
            self._failures.take(client[0] if client else "", self._clock())
        except HttpProblem as problem:
            problem.headers |= CLOSE_CONNECTION
            raise


def _source_of(scope: Scope, request_id: str) -> CommandSource:
    """Return from where a request comes. The address is that of the connection: headers name what their sender likes."""
    in_browser = get_header(scope, b"authorization") is None and get_header(scope, b"cookie") is not None
    channel = CommandChannel.CONSOLE if in_browser else CommandChannel.API
    if scope["path"].startswith(_COMMANDS):
        channel = CommandChannel.CLI
    client = scope.get("client")
    address = None if client is None else str(client[0])
    try:
        return CommandSource(channel=channel, address=address, request_id=request_id)
    except ValidationError:  # a connection by a socket of the machine has a path instead of an address
        return CommandSource(channel=channel, request_id=request_id)


class _Response:
    """Adds the common headers to a response, and knows whether it has started."""

    def __init__(self, send: Send, request_id: str, span: Span) -> None:
        self._send = send
        self._request_id = request_id
        self._span = span
        self.status: int | None = None
        """The status that was sent; None before."""
        self.streams = False
        """Whether it is a stream of events, which has no end of its own."""

    async def send(self, message: Message) -> None:
        """Pass on a message of the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._span.set(http__response__status_code=message["status"])
            if message["status"] >= 500:
                self._span.fail(str(message["status"]))
            given = list(message.get("headers", ()))
            names = {name for name, _ in given}
            self.streams = any(name == b"content-type" and value.startswith(_EVENT_STREAM) for name, value in given)
            own = (
                *(pair for pair in _OWN_HEADERS if pair[0] not in names),
                (b"x-request-id", self._request_id.encode()),
            )
            message = {**message, "headers": [*given, *own]}
        await self._send(message)

    async def report(self, problem: HttpProblem) -> None:
        """Send an error response, unless a response has started."""
        if self.status is not None:
            return
        body = render_error(problem, self._request_id)
        fixed = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers = [*fixed, *((name.encode(), value.encode()) for name, value in problem.headers.items())]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _is_sign_in(scope: Scope) -> bool:
    """Return whether a request is one to sign in or out, for which nobody has a credential yet."""
    return str(scope["path"]).startswith(SIGN_IN_PREFIX)


def _require_plain_json(body: bytes) -> None:
    """Reject what the JSON parser must not see. Raises HttpProblem 400."""
    if b"\x00" in body:  # UTF-16 and UTF-32: the parser would accept them, but the depth check cannot read them
        raise HttpProblem(
            400, INVALID_REQUEST, "invalid_json", "the body must be JSON in UTF-8 (RFC 8259, section 8.1)"
        )
    if exceeds_depth(body, MAX_JSON_DEPTH):
        message = f"the body is nested deeper than {MAX_JSON_DEPTH} levels"
        raise HttpProblem(400, INVALID_REQUEST, "invalid_json", message)
    try:
        repeated = find_repeated_name(body) if body else []
    except ValueError:
        return  # a body that is no JSON is refused where it is parsed
    if repeated:  # the name is not shown: a key may be where a name belongs
        message = "the body has a field twice: give each field once"
        raise HttpProblem(400, INVALID_REQUEST, "invalid_json", message)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the application the body again, then what the connection sends."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again
