"""The HTTP handlers: authenticate, pass the request to the bus, and return the answer in the OpenAI dialect."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import orjson

from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.credit import AllowanceUse
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.frames import Accepted
from keyferry.contracts.route import Models
from keyferry.contracts.token_scope import ClientApi
from keyferry.contracts.topology import MODEL_LIST
from keyferry.contracts.traces import SpanKind
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.http.asgi import Receive, Scope, Send
from keyferry.runtime.http.body import ClientDisconnected, RequestBodyLimits
from keyferry.runtime.http.credential import ConflictingCredentials
from keyferry.runtime.http.openai_body import ParsedBody, read_chat, read_embedding
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from keyferry.runtime.request.assembly import CallFailed, Piece
from keyferry.runtime.request.call import Call, CallAbandoned
from keyferry.runtime.request.inbox import CallInbox
from keyferry.runtime.tracing.sampling import KeepReason
from keyferry.runtime.tracing.span import Span
from keyferry.runtime.tracing.telemetry import Telemetry
from services.ingress import request_headers, routes
from services.ingress.dialects import model_list, openai
from services.ingress.http_exchange import HttpExchange
from services.ingress.identity import ClientIdentity, Suspended, Unauthenticated, UnreadableTenant
from services.ingress.metrics import ObservedRequest
from services.ingress.problem import FailedRequest
from services.ingress.rate_limit_headers import rate_limit_headers
from services.ingress.service_levels import RequestLevels
from services.ingress.settings import IngressSettings
from services.ingress.token_scopes import check_scopes

_log = logging.getLogger(__name__)

_MODELS_TIMEOUT_SECONDS = 2.0

_OVERLOADED = Failure(
    failure_class=FailureClass.OVERLOADED,
    message="the gateway has more requests than it can pass on right now; try again in 1 s",
    retry_after_ms=1000,
)

Authenticate = Callable[[str | None, datetime], ClientIdentity]
"""Raises Unauthenticated, UnreadableTenant and Suspended."""


class OpenAIHandlers:
    """The ASGI application of the data plane, `/v1/*`."""

    def __init__(
        self,
        *,
        settings: IngressSettings,
        bus: Bus,
        caller: Callable[[], CallInbox],
        authenticate: Authenticate,
        telemetry: Telemetry,
        waiting_for: Callable[[], list[str]],
        draining: Callable[[], bool],
        levels: RequestLevels | None = None,
    ) -> None:
        self._settings = settings
        self._body_limits = RequestBodyLimits(settings.max_body_bytes, settings.upload_timeout_seconds, "this gateway")
        self._bus = bus
        self._caller = caller
        self._authenticate = authenticate
        self._telemetry = telemetry
        self._waiting_for = waiting_for
        self._draining = draining
        self._levels = levels or RequestLevels(lambda *_: None)
        self._handlers: dict[str, Callable[[HttpExchange, str], Awaitable[None]]] = {
            routes.CHAT: self._chat,
            routes.EMBEDDINGS: self._embeddings,
            routes.MODELS: self._models,
            routes.MODEL: self._model,
            routes.HEALTHZ: self._healthz,
            routes.READYZ: self._readyz,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        exchange = HttpExchange(scope, receive, send)
        request_id = ids.new(ids.REQUEST)
        observed = ObservedRequest()
        try:
            route = observed.route = routes.find_route(exchange.method, exchange.path)
            if exchange.method == "OPTIONS":
                await exchange.respond(200, b"{}", {"x-request-id": request_id, "allow": routes.allowed_methods(route)})
            else:
                await self._handlers[route](exchange, request_id)
        except ClientDisconnected:
            observed.cancel()
            _log.info("the client closed the connection", extra={"request_id": request_id, "status": 499})
            await self._report(
                exchange, _client_closed(), request_id
            )  # read by nobody, unless it closed its own side only
        except HttpProblem as problem:
            observed.fail(problem)
            await self._report(exchange, problem, request_id)
        except Exception:  # the outermost edge: the caller gets an answer, and the defect is in the log
            _log.exception("a request failed", extra={"request_id": request_id})
            message = "the gateway failed; its log has the details under this request id"
            defect = HttpProblem(500, "api_error", "internal_error", message)
            observed.fail(defect)
            await self._report(exchange, defect, request_id)
        finally:
            observed.end(exchange)

    async def _report(self, exchange: HttpExchange, problem: HttpProblem, request_id: str) -> None:
        self._levels.note_problem(exchange.path, problem)
        if exchange.started:
            return
        accepted = problem.accepted if isinstance(problem, FailedRequest) else None
        headers = {"x-request-id": request_id, **problem.headers, **_route_headers(accepted)}
        if isinstance(problem, FailedRequest):
            headers |= rate_limit_headers(problem.rate_limits)
        await exchange.respond(problem.status, openai.render_error(problem, request_id), headers)

    # --- chat and embeddings

    async def _chat(self, exchange: HttpExchange, request_id: str) -> None:
        await self._forward(exchange, request_id, ClientApi.CHAT, ChatRequest, read_chat)

    async def _embeddings(self, exchange: HttpExchange, request_id: str) -> None:
        await self._forward(exchange, request_id, ClientApi.EMBEDDINGS, EmbeddingRequest, read_embedding)

    async def _forward(
        self,
        exchange: HttpExchange,
        request_id: str,
        api: ClientApi,
        head_type: type[ChatRequest] | type[EmbeddingRequest],
        read: Callable[[bytes], ParsedBody],
    ) -> None:
        arrived_ns = time.time_ns()
        identity = self._identify(exchange, api)
        body = await exchange.read_body(self._body_limits)
        if self._caller().backlog.refuses(identity.tenant.tenant, time.monotonic()):
            # Behind so many that wait, it would come too late, and make them wait longer.
            raise openai.problem_from_failure(_OVERLOADED)
        parsed = read(body)
        span = self._telemetry.start(
            f"POST {exchange.path}",
            exchange.header(b"traceparent"),
            kind=SpanKind.SERVER,
            start_unix_ns=arrived_ns,
            from_outside=True,
        )
        span.set(keyferry__request_id=request_id, keyferry__tenant=identity.tenant.tenant, http__route=exchange.path)
        try:
            head = self._head(head_type, exchange, request_id, identity, parsed, span)
            await self._answer(exchange, self._caller().call(head, body, span), parsed.stream, request_id, span)
        except HttpProblem as problem:
            span.fail(problem.failure.failure_class.value if isinstance(problem, FailedRequest) else problem.code)
            span.set(http__response__status_code=problem.status)
            raise
        except ClientDisconnected:
            span.fail(FailureClass.CANCELLED.value)
            raise
        finally:
            self._telemetry.finish(span)

    def _identify(self, exchange: HttpExchange, api: ClientApi) -> ClientIdentity:
        """Return the caller, who may use `api` for what the request's headers say. Raises HttpProblem 401, 403 and 503."""
        identity = self._authenticated(exchange)
        check_scopes(identity.token, api, exchange.header(b"x-operation"), exchange.header(b"origin"))
        return identity

    def _authenticated(self, exchange: HttpExchange) -> ClientIdentity:
        if waiting := self._waiting_for():
            message = f"the gateway is not ready: waiting for {', '.join(waiting)}"
            raise HttpProblem(503, "overloaded_error", "unavailable", message, headers={"retry-after": "1"})
        try:
            return self._authenticate(exchange.credential(), datetime.now(UTC))
        except (Unauthenticated, ConflictingCredentials) as error:
            headers = {"www-authenticate": "Bearer"}
            raise HttpProblem(401, "authentication_error", "invalid_api_key", str(error), headers=headers) from None
        except UnreadableTenant as error:
            raise HttpProblem(503, "overloaded_error", "unavailable", str(error)) from None
        except Suspended as error:
            raise HttpProblem(403, "permission_error", "tenant_suspended", str(error)) from None

    def _head(
        self,
        head_type: type[ChatRequest] | type[EmbeddingRequest],
        exchange: HttpExchange,
        request_id: str,
        identity: ClientIdentity,
        parsed: ParsedBody,
        span: Span,
    ) -> ChatRequest | EmbeddingRequest:
        return head_type(
            request_id=request_id,
            tenant=identity.tenant.tenant,
            client_token_id=identity.token.token_id,
            allowed_models=identity.token.allowed_models,
            token_limits=identity.token.limits,
            team=identity.token.team,
            member=identity.token.member,
            model=parsed.model,
            stream=parsed.stream,
            include_usage=parsed.include_usage,
            operation=request_headers.parse_operation(exchange.header(b"x-operation")),
            tags=request_headers.parse_tags(exchange.header(b"x-keyferry-tags")),
            prefer_own_keys=request_headers.parse_key_preference(exchange.header(b"x-prefer-byok")),
            explain=request_headers.parse_explain(exchange.header(b"x-keyferry-explain")),
            power_level=request_headers.parse_power_level(exchange.header(b"x-power-level")),
            conversation=request_headers.parse_conversation(exchange.header(b"x-conversation-id")),
            features=parsed.features,
            deadline_ms=int(self._settings.request_deadline_seconds * 1000),
            start_by_unix_ms=0,
            traceparent=span.traceparent,
        )

    async def _answer(self, exchange: HttpExchange, call: Call, stream: bool, request_id: str, span: Span) -> None:
        watch = asyncio.ensure_future(_abandon_on_disconnect(exchange, call))
        try:
            await call.start()
            answer = self._stream if stream else self._respond_whole
            self._levels.note_end(await answer(exchange, call, request_id, span), call.accepted)
        except CallAbandoned:
            raise ClientDisconnected from None
        except CallFailed as error:
            raise _problem(error, call) from None
        finally:
            watch.cancel()
            if call.accepted is not None and call.accepted.attempt_number > 1:
                span.keep(KeepReason.FALLBACK)
            elif call.sends > 1:
                span.keep(KeepReason.RESENT)
            await call.cancel()

    async def _respond_whole(self, exchange: HttpExchange, call: Call, request_id: str, _span: Span) -> None:
        parts: list[bytes] = []
        while True:
            piece = await call.next_piece()
            assert piece is not None
            parts.append(piece.payload)
            if piece.last:
                break
        headers = {"x-request-id": request_id, **_answer_headers(call)}
        answer = _explain(Piece(b"".join(parts), last=True), call.accepted)
        await exchange.respond(200, answer.payload, headers)

    async def _stream(self, exchange: HttpExchange, call: Call, request_id: str, span: Span) -> FailedRequest | None:
        """Send the answer as events; return the problem that it ended with, if it did.

        The status line is sent with the first piece, so that an early failure gets its real status. If a provider takes longer
        than a proxy waits, the stream begins with a comment instead.
        """
        explained = False
        while True:
            try:
                piece = await call.next_piece(self._settings.keep_alive_seconds)
            except CallFailed as error:
                if not exchange.started:
                    raise
                span.fail(error.failure.failure_class.value)
                problem = exchange.broken_by = _problem(error, call)
                await exchange.send_events(openai.render_error_event(problem, request_id, int(time.time())), last=True)
                return problem
            if not exchange.started:
                await exchange.start_events({"x-request-id": request_id, **_answer_headers(call)})
            if piece is not None and not explained:
                explained = True
                exchange.first_piece_at = time.perf_counter()
                piece = _explain(piece, call.accepted)
            await exchange.send_events(_encode_piece(piece), last=piece is not None and piece.last)
            if piece is not None and piece.last:
                return None

    # --- models and health

    async def _models(self, exchange: HttpExchange, request_id: str) -> None:
        models = await self._available_models(exchange, exchange.query)
        await exchange.respond(200, model_list.render_list(models), {"x-request-id": request_id})

    async def _model(self, exchange: HttpExchange, request_id: str) -> None:
        """Show one model, also an unapproved one, which the list leaves out."""
        models = await self._available_models(exchange, "approved=all")
        body = model_list.render_model(models, exchange.path.removeprefix(f"{routes.MODELS}/"))
        await exchange.respond(200, body, {"x-request-id": request_id})

    async def _available_models(self, exchange: HttpExchange, query: str) -> Models:
        query_message = model_list.build_query(self._identify(exchange, ClientApi.MODELS).token, query)
        try:
            return await self._bus.ask(MODEL_LIST, query_message, timeout_seconds=_MODELS_TIMEOUT_SECONDS)
        except (BusError, Refused) as error:
            headers = {"retry-after": "1"}
            raise HttpProblem(503, "overloaded_error", "unavailable", str(error), headers=headers) from None

    async def _healthz(self, exchange: HttpExchange, request_id: str) -> None:
        await exchange.respond(200, b'{"status":"ok"}', {"x-request-id": request_id})

    async def _readyz(self, exchange: HttpExchange, request_id: str) -> None:
        waiting = self._waiting_for()
        status = "draining" if self._draining() else "waiting" if waiting else "ready"
        body = orjson.dumps({"status": status, "waiting_for": waiting})
        await exchange.respond(200 if status == "ready" else 503, body, {"x-request-id": request_id})


async def _abandon_on_disconnect(exchange: HttpExchange, call: Call) -> None:
    await exchange.wait_for_disconnect()
    call.abandon()


def _client_closed() -> HttpProblem:
    message = (
        "the request was cancelled, since the client ended its side of the connection before the answer; keep it open"
    )
    return HttpProblem(400, INVALID_REQUEST, "client_closed_request", message)


def _explain(piece: Piece, accepted: Accepted | None) -> Piece:
    """Return the first piece of an answer with the decision, where the request asked for it."""
    if accepted is None or accepted.decision is None:
        return piece
    return Piece(openai.add_decision(piece.payload, accepted.decision), piece.last)


def _encode_piece(piece: Piece | None) -> bytes:
    if piece is None:
        return openai.KEEP_ALIVE
    data = openai.encode_events(piece.payload) if piece.payload else b""
    return data + openai.DONE if piece.last else data


def _problem(error: CallFailed, call: Call) -> FailedRequest:
    rate_limits = error.rate_limits or call.rate_limits
    return openai.problem_from_failure(error.failure, call.accepted, error.decision_id, error.decision, rate_limits)


def _answer_headers(call: Call) -> dict[str, str]:
    return _route_headers(call.accepted) | rate_limit_headers(call.rate_limits)


def _route_headers(accepted: Accepted | None) -> dict[str, str]:
    """Return headers that name the chosen provider, model and key source, once they are known."""
    if accepted is None:
        return {}
    return {
        "x-keyferry-provider": accepted.endpoint or accepted.provider,
        "x-keyferry-model": accepted.model,
        **({"x-keyferry-replaces": accepted.replaces} if accepted.replaces else {}),
        "x-keyferry-credential": accepted.key_source.value,
        "x-keyferry-attempts": str(accepted.attempt_number),
        "x-keyferry-decision-id": accepted.decision_id,
        **({"x-keyferry-fallback": accepted.fallback_reason} if accepted.fallback_reason else {}),
        **({"x-keyferry-power-level": accepted.power_level.value} if accepted.power_level else {}),
        **({"x-keyferry-dropped": ",".join(accepted.dropped)} if accepted.dropped else {}),
        **({"x-keyferry-added": ",".join(accepted.added)} if accepted.added else {}),
        **_allowance_header(accepted.allowance),
    }


def _allowance_header(allowance: AllowanceUse | None) -> dict[str, str]:
    """Return the header of a free request: how many of the month's are used."""
    return {} if allowance is None else {"x-keyferry-allowance": f"{allowance.used}/{allowance.requests}"}
