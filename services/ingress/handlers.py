"""The HTTP doors: identify the caller, hand the request to the bus, give the answer back in the caller's dialect."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import orjson
from opentelemetry.trace import SpanKind
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.frames import Accepted
from keyferry.contracts.route import Models
from keyferry.contracts.topology import MODEL_LIST
from keyferry.runtime.bus.connection import Bus, BusError
from keyferry.runtime.process.telemetry import Span, Telemetry
from keyferry.runtime.request.calls import Call, CallAbandoned, Caller, CallFailed, Piece
from services.ingress import request_headers
from services.ingress.dialects import model_list, openai
from services.ingress.exchange import ClientGone, Exchange
from services.ingress.identity import Identity, Suspended, Unauthenticated
from services.ingress.problem import Problem
from services.ingress.settings import IngressSettings

_log = logging.getLogger(__name__)

_MODELS_TIMEOUT_SECONDS = 2.0

Authenticate = Callable[[str | None, datetime], Identity]
"""Raises Unauthenticated and Suspended."""


class Doors:
    """The ASGI application."""

    def __init__(
        self,
        *,
        settings: IngressSettings,
        bus: Bus,
        caller: Callable[[], Caller],
        authenticate: Authenticate,
        telemetry: Telemetry,
        waiting_for: Callable[[], list[str]],
        draining: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._caller = caller
        self._authenticate = authenticate
        self._telemetry = telemetry
        self._waiting_for = waiting_for
        self._draining = draining
        self._routes: dict[str, tuple[str, Callable[[Exchange, str], Awaitable[None]]]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/embeddings": ("POST", self._embeddings),
            "/v1/models": ("GET", self._models),
            "/healthz": ("GET", self._healthz),
            "/readyz": ("GET", self._readyz),
        }

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        request_id = ids.new(ids.REQUEST)
        try:
            await self._handler(exchange)(exchange, request_id)
        except ClientGone:
            _log.info("the client went away", extra={"request_id": request_id, "status": 499})
        except Problem as problem:
            await self._report(exchange, problem, request_id)
        except Exception:  # the edge of the exchange: the caller gets an answer, and the defect is in the log
            _log.exception("a request failed", extra={"request_id": request_id})
            await self._report(
                exchange,
                Problem(500, "api_error", "internal_error", "the gateway failed; it is in its log"),
                request_id,
            )

    def _handler(self, exchange: Exchange) -> Callable[[Exchange, str], Awaitable[None]]:
        route = self._routes.get(exchange.path)
        if route is None and exchange.path.startswith("/v1/models/"):
            route = ("GET", self._model)
        if route is None:
            raise Problem(
                404,
                "invalid_request_error",
                "unknown_url",
                f"there is nothing at {exchange.method} {exchange.path[:200]}",
            )
        method, handler = route
        if exchange.method != method:
            raise Problem(
                405,
                "invalid_request_error",
                "method_not_allowed",
                f"{exchange.path[:200]} takes {method}",
                headers={"allow": method},
            )
        return handler

    async def _report(self, exchange: Exchange, problem: Problem, request_id: str) -> None:
        if exchange.started:
            return
        headers = {"x-request-id": request_id, **problem.headers, **_route_headers(problem.accepted)}
        await exchange.respond(problem.status, openai.error_body(problem, request_id), headers)

    # --- chat and embeddings

    async def _chat(self, exchange: Exchange, request_id: str) -> None:
        await self._ask(exchange, request_id, ChatRequest, openai.read_chat)

    async def _embeddings(self, exchange: Exchange, request_id: str) -> None:
        await self._ask(exchange, request_id, EmbeddingRequest, openai.read_embedding)

    async def _ask(
        self,
        exchange: Exchange,
        request_id: str,
        head_type: type[ChatRequest] | type[EmbeddingRequest],
        read: Callable[[bytes], openai.Asked],
    ) -> None:
        identity = self._identify(exchange)
        body = await exchange.body(self._settings.max_body_bytes, self._settings.upload_timeout_seconds)
        asked = read(body)
        span = self._telemetry.start(f"POST {exchange.path}", exchange.header(b"traceparent"), kind=SpanKind.SERVER)
        span.set(keyferry__request_id=request_id, keyferry__tenant=identity.tenant.tenant)
        try:
            head = self._head(head_type, exchange, request_id, identity, asked, span)
            await self._answer(exchange, self._caller().call(head, body), asked.stream, request_id, span)
        except Problem as problem:
            span.fail(problem.failure.failure_class.value if problem.failure else problem.code)
            raise
        finally:
            span.end()

    def _identify(self, exchange: Exchange) -> Identity:
        if waiting := self._waiting_for():
            message = f"the gateway is not ready: it waits for {', '.join(waiting)}"
            raise Problem(503, "overloaded_error", "unavailable", message, headers={"retry-after": "1"})
        try:
            return self._authenticate(exchange.header(b"authorization"), datetime.now(UTC))
        except Unauthenticated as error:
            raise Problem(401, "authentication_error", "invalid_api_key", str(error)) from None
        except Suspended as error:
            raise Problem(403, "permission_error", "tenant_suspended", str(error)) from None

    def _head(
        self,
        head_type: type[ChatRequest] | type[EmbeddingRequest],
        exchange: Exchange,
        request_id: str,
        identity: Identity,
        asked: openai.Asked,
        span: Span,
    ) -> ChatRequest | EmbeddingRequest:
        return head_type(
            request_id=request_id,
            tenant=identity.tenant.tenant,
            client_token_id=identity.token.token_id,
            allowed_models=identity.token.allowed_models,
            model=asked.model,
            stream=asked.stream,
            include_usage=asked.include_usage,
            operation=request_headers.operation(exchange.header(b"x-operation")),
            tags=request_headers.tags(exchange.header(b"x-keyferry-tags")),
            prefer_own_keys=request_headers.own_keys(exchange.header(b"x-prefer-byok")),
            deadline_ms=int(self._settings.request_deadline_seconds * 1000),
            start_by_unix_ms=0,
            traceparent=span.traceparent,
        )

    async def _answer(self, exchange: Exchange, call: Call, stream: bool, request_id: str, span: Span) -> None:
        watch = asyncio.ensure_future(_abandon_when_gone(exchange, call))
        try:
            await call.start()
            if stream:
                await self._stream(exchange, call, request_id, span)
            else:
                await self._whole(exchange, call, request_id)
        except CallAbandoned:
            raise ClientGone from None
        except CallFailed as error:
            raise openai.problem_of(error.failure, call.accepted, error.decision_id) from None
        finally:
            watch.cancel()
            await call.cancel()

    async def _whole(self, exchange: Exchange, call: Call, request_id: str) -> None:
        parts: list[bytes] = []
        while True:
            piece = await call.next_piece()
            assert piece is not None
            parts.append(piece.payload)
            if piece.last:
                break
        headers = {"x-request-id": request_id, **_route_headers(call.accepted)}
        await exchange.respond(200, b"".join(parts), headers)

    async def _stream(self, exchange: Exchange, call: Call, request_id: str, span: Span) -> None:
        """Until the first piece there is no status line, so that an early failure gets its real status.

        Unless the provider thinks for longer than a proxy waits: then the stream begins with a comment.
        """
        patience = self._settings.keep_alive_seconds
        while True:
            try:
                piece = await call.next_piece(patience)
            except CallFailed as error:
                if not exchange.started:
                    raise
                span.fail(error.failure.failure_class.value)
                problem = openai.problem_of(error.failure, call.accepted, error.decision_id)
                await exchange.send_events(openai.error_event(problem, request_id, int(time.time())), last=True)
                return
            if not exchange.started:
                await exchange.start_events({"x-request-id": request_id, **_route_headers(call.accepted)})
            await exchange.send_events(_as_events(piece), last=piece is not None and piece.last)
            if piece is not None and piece.last:
                return

    # --- models and health

    async def _models(self, exchange: Exchange, request_id: str) -> None:
        models = await self._offered(exchange, exchange.query)
        await exchange.respond(200, model_list.listed(models), {"x-request-id": request_id})

    async def _model(self, exchange: Exchange, request_id: str) -> None:
        """Whoever names a model may see it, though a list would leave it out for not being approved."""
        models = await self._offered(exchange, "approved=all")
        body = model_list.one(models, exchange.path.removeprefix("/v1/models/"))
        await exchange.respond(200, body, {"x-request-id": request_id})

    async def _offered(self, exchange: Exchange, query: str) -> Models:
        question = model_list.question(self._identify(exchange).token, query)
        try:
            return await self._bus.ask(MODEL_LIST, question, Models, timeout_seconds=_MODELS_TIMEOUT_SECONDS)
        except BusError as error:
            headers = {"retry-after": "1"}
            raise Problem(503, "overloaded_error", "unavailable", str(error), headers=headers) from None

    async def _healthz(self, exchange: Exchange, request_id: str) -> None:
        await exchange.respond(200, b'{"status":"ok"}', {"x-request-id": request_id})

    async def _readyz(self, exchange: Exchange, request_id: str) -> None:
        waiting = self._waiting_for()
        status = "draining" if self._draining() else "waiting" if waiting else "ready"
        body = orjson.dumps({"status": status, "waiting_for": waiting})
        await exchange.respond(200 if status == "ready" else 503, body, {"x-request-id": request_id})


async def _abandon_when_gone(exchange: Exchange, call: Call) -> None:
    await exchange.gone()
    call.abandon()


def _as_events(piece: Piece | None) -> bytes:
    if piece is None:
        return openai.KEEP_ALIVE
    data = openai.events(piece.payload) if piece.payload else b""
    return data + openai.DONE if piece.last else data


def _route_headers(accepted: Accepted | None) -> dict[str, str]:
    """What was chosen for this request, once that is known."""
    if accepted is None:
        return {}
    return {
        "x-keyferry-provider": accepted.endpoint or accepted.provider,
        "x-keyferry-model": accepted.model,
        "x-keyferry-credential": accepted.key_source.value,
        "x-keyferry-attempts": str(accepted.attempt_number),
        "x-keyferry-decision-id": accepted.decision_id,
        **({"x-keyferry-dropped": ",".join(accepted.dropped)} if accepted.dropped else {}),
    }
