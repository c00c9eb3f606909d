"""The router's doors on the bus: chat requests, and the management of endpoints and models."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from opentelemetry.trace import SpanKind

from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest, Reroute
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.route import (
    Endpoint,
    Endpoints,
    ListEndpoints,
    ListModels,
    Models,
    RemoveEndpoint,
    SaveEndpoint,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import (
    ATTEMPT_RUN,
    CHAT_REQUEST,
    EMBEDDING_REQUEST,
    ENDPOINT_LIST,
    ENDPOINT_REMOVE,
    ENDPOINT_SAVE,
    MODEL_LIST,
    REQUEST_REROUTE,
    reply_prefixes,
)
from keyferry.runtime.bus.connection import Bus, Refused
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.telemetry import Telemetry
from services.router.available_models import available_models
from services.router.context import RoutingContext
from services.router.decide import FreshIds, Request, decide, record
from services.router.endpoints import InvalidEndpoint, validate_endpoint
from services.router.store import EndpointStore

_log = logging.getLogger(__name__)

_CALLERS = reply_prefixes(CHAT_REQUEST)

Publish = Callable[[str, bytes, str], Awaitable[None]]
"""Publishes (subject, data, reply); raises nats-py's errors when the bus is away."""
_UNKNOWN_WRITE = "so it is unknown whether the change was made: list the endpoints before you try again"
ContextOf = Callable[[str], RoutingContext]
"""What the router knows of a tenant now."""


class RequestHandlers:
    """Decides each request and sends one message on; the answer never comes back here."""

    def __init__(
        self, *, router: str, context_of: ContextOf, publish: Publish, decisions: BatchPublisher, telemetry: Telemetry
    ) -> None:
        self._router = router
        self._context_of = context_of
        self._publish = publish
        self._decisions = decisions
        self._telemetry = telemetry

    def register(self, bus: Bus) -> None:
        """Hear every request and every one that has to go elsewhere. Before the bus is started."""
        bus.lane(CHAT_REQUEST, self.on_request)
        bus.lane(EMBEDDING_REQUEST, self.on_embedding)
        bus.lane(REQUEST_REROUTE, self.on_reroute)

    async def on_request(self, message: Msg) -> None:
        """A new request."""
        await self._on(message, ChatRequest)

    async def on_embedding(self, message: Msg) -> None:
        """A new request for embeddings."""
        await self._on(message, EmbeddingRequest)

    async def on_reroute(self, message: Msg) -> None:
        """A request whose attempt has failed before anything was delivered."""
        await self._on(message, Reroute)

    async def _on(self, message: Msg, kind: type[ChatRequest] | type[EmbeddingRequest] | type[Reroute]) -> None:
        """Drops what cannot be answered to a caller's inbox, or whose head names another tenant than its subject."""
        started_ns = time.perf_counter_ns()
        if not message.reply.startswith(_CALLERS):
            _log.warning("dropped a request whose answer would go astray")
            return
        try:
            request, body = kind.split(message.data)
        except MalformedMessage as error:
            _log.error("a request cannot be read", extra={"why": error.reason})
            return
        if request.tenant != message.subject.rpartition(".")[2]:
            # The bus checks who may publish to which tenant's subject; the head must not say otherwise.
            _log.warning("dropped a request whose head names another tenant", extra={"request_id": request.request_id})
            return
        await self._decide(request, body, message.reply, started_ns)

    async def _decide(self, request: Request, body: bytes, inbox: str, started_ns: int) -> None:
        fresh = FreshIds(ids.new(ids.DECISION), ids.new(ids.ATTEMPT))
        span = self._telemetry.start("router.decide", request.traceparent, kind=SpanKind.CONSUMER)
        decision = decide(request, self._context_of(request.tenant), fresh, traceparent=span.traceparent)
        try:
            if decision.run is not None:
                await self._publish(ATTEMPT_RUN.at(provider=decision.run.provider), decision.run.with_body(body), inbox)
            elif decision.refused is not None:
                await self._publish(inbox, decision.refused.to_frame(), "")
        except NatsError:
            _log.warning("a decision could not be sent on", extra={"request_id": request.request_id})
        made = record(
            request,
            decision,
            fresh,
            router=self._router,
            now=datetime.now(UTC),
            duration_us=(time.perf_counter_ns() - started_ns) // 1000,
            trace=span.traceparent,
        )
        self._decisions.put(made.encode())
        if decision.refused is not None:
            span.fail(decision.refused.failure.failure_class.value)
        span.set(keyferry__request_id=request.request_id, keyferry__decision_id=fresh.decision_id)
        span.end()


class ManagementHandlers:
    """Answers the operator's requests."""

    def __init__(self, store: EndpointStore, context_of: ContextOf) -> None:
        self._store = store
        self._context_of = context_of

    def register(self, bus: Bus) -> None:
        """Answer every request of a person's. Before the bus is started."""
        bus.respond(ENDPOINT_SAVE, SaveEndpoint, self.save_endpoint)
        bus.respond(ENDPOINT_REMOVE, RemoveEndpoint, self.remove_endpoint)
        bus.respond(ENDPOINT_LIST, ListEndpoints, self.list_endpoints)
        bus.respond(MODEL_LIST, ListModels, self.list_models)

    async def save_endpoint(self, command: SaveEndpoint) -> Endpoint:
        """Add or replace."""
        if self._context_of(command.tenant).tenant is None:
            raise Refused(
                ErrorCode.NOT_FOUND, f"there is no tenant {command.tenant}; add it with `keyferry tenants create`"
            )
        try:
            endpoint = validate_endpoint(command)
        except InvalidEndpoint as error:
            raise Refused(ErrorCode.INVALID, str(error)) from None
        with _refuse_outages(_UNKNOWN_WRITE):
            await self._store.save(endpoint)
        return endpoint

    async def remove_endpoint(self, command: RemoveEndpoint) -> Endpoint:
        """Remove."""
        with _refuse_outages(_UNKNOWN_WRITE):
            removed = await self._store.remove(command.tenant, command.name)
        if removed is None:
            raise Refused(ErrorCode.NOT_FOUND, f"the tenant {command.tenant} has no endpoint {command.name}")
        return removed

    async def list_endpoints(self, command: ListEndpoints) -> Endpoints:
        """All of a tenant, in the order they are tried."""
        with _refuse_outages("so it cannot list them: try again in a moment"):
            return Endpoints(endpoints=await self._store.of_tenant(command.tenant))

    async def list_models(self, command: ListModels) -> Models:
        """What a tenant can call now."""
        return Models(models=available_models(self._context_of(command.tenant), command))


@contextmanager
def _refuse_outages(consequence: str) -> Iterator[None]:
    """Refuse the request while the database is unreachable."""
    try:
        yield
    except DatabaseUnavailable:
        message = f"the router cannot reach its database of endpoints, {consequence}; `keyferry doctor` shows the cause"
        raise Refused(ErrorCode.UNAVAILABLE, message) from None
