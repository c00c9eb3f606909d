"""The router's handlers on the bus: requests to route, and the management of endpoints and models."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.errors import Error as NatsError

from keyferry.contracts import ids
from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.chat import AttemptRun, ChatRequest, EmbeddingRequest, Reroute
from keyferry.contracts.credit import Reservation
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.health import Target
from keyferry.contracts.route import (
    Endpoint,
    EndpointProbe,
    Endpoints,
    ListEndpoints,
    ListModels,
    Models,
    ProbeEndpoint,
    RemoveEndpoint,
    SavedEndpoint,
    SaveEndpoint,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.topology import (
    ATTEMPT_RUN,
    CHAT_REQUEST,
    EMBEDDING_REQUEST,
    ENDPOINT_LIST,
    ENDPOINT_REMOVE,
    ENDPOINT_SAVE,
    MODEL_LIST,
    REQUEST_REROUTE,
)
from keyferry.contracts.traces import SpanKind
from keyferry.contracts.users import INGRESS_INBOX
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.tracing.span import Span, work_for
from keyferry.runtime.tracing.telemetry import Telemetry
from services.router.credit.request_credit import NO_LEDGER, RequestCredit
from services.router.credit.reserver import LedgerUnavailable
from services.router.decide import (
    FreshIds,
    Request,
    RoutingDecision,
    asks_to_wait,
    decide,
    limit,
    record,
    refuse,
    reserve,
    wait_for_limits,
)
from services.router.decision_span import describe_decision
from services.router.endpoints.check import SAVE_ANYWAY, check_address, check_probe
from services.router.endpoints.store import EndpointStore
from services.router.endpoints.validation import InvalidEndpoint, find_forbidden, validate_endpoint
from services.router.fallback.memory import FallbackMemory
from services.router.limits.admitted import Admitted
from services.router.limits.counter import Spawn
from services.router.limits.limiter import RequestLimiter
from services.router.metrics import count_decision
from services.router.outage import refuse_outages
from services.router.planning.available_models import available_models
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import leads_nowhere
from services.router.unreadable import require_tenant

_log = logging.getLogger(__name__)

Publish = Callable[[str, bytes, str], Awaitable[None]]
"""Publishes (subject, data, reply); raises nats-py's errors if the bus is unavailable."""
_MAX_PLANS = 8
"""How often a request is planned while accounts turn out to have too little."""
_UNKNOWN_WRITE = "so it is unknown whether the change was made: list the endpoints before you try again"
ProbeAddress = Callable[[ProbeEndpoint], Awaitable[EndpointProbe]]
"""Has a worker try an address; raises BusError if none answers."""
CancelProbe = Callable[[Target], None]
"""Has another request probe a half-open target."""
ContextOf = Callable[[str], RoutingContext]
"""Returns the routing context of a tenant as of now."""


@dataclass(frozen=True, slots=True)
class _Deciding:
    """A request while it is decided."""

    received: ReceivedMessage[Request]
    request: Request
    context: RoutingContext
    fresh: FreshIds
    span: Span


def _handed_back(request: Request) -> Reservation | None:
    """Return what an attempt of the request could have spent that a worker handed back before it began."""
    return request.reservation if isinstance(request, Reroute) else None


def _is_late(run: AttemptRun) -> bool:
    return time.time_ns() // 1_000_000 > run.start_by_unix_ms


class RequestHandlers:
    """Decides each request and forwards it in one message; the answer does not come back here."""

    def __init__(
        self,
        *,
        router: str,
        context_of: ContextOf,
        fallback: FallbackMemory,
        limiter: RequestLimiter,
        credit: RequestCredit,
        cancel_probe: CancelProbe,
        publish: Publish,
        spawn: Spawn,
        decisions: BatchPublisher,
        telemetry: Telemetry,
    ) -> None:
        self._router = router
        self._context_of = context_of
        self._fallback = fallback
        self._limiter = limiter
        self._credit = credit
        self._cancel_probe = cancel_probe
        self._publish = publish
        self._spawn = spawn
        self._decisions = decisions
        self._telemetry = telemetry

    def register(self, bus: Bus) -> None:
        """Subscribe to requests and reroutes. Call before the bus is started."""
        bus.subscribe(CHAT_REQUEST, self.on_request)
        bus.subscribe(EMBEDDING_REQUEST, self.on_request)
        bus.subscribe(REQUEST_REROUTE, self.on_request)

    async def on_request(self, received: ReceivedMessage[Request]) -> None:
        """Decide a new request, or one whose attempt failed before anything was delivered.

        Where only the counters on the bus know whether a limit is reached, the requests behind this one do not wait for them.
        """
        request = received.message
        if time.time_ns() // 1_000_000 > request.start_by_unix_ms:
            # No worker would start it, and its caller is about to send it again: a router behind its work must not fall further.
            _log.info("a request came too late to be decided", extra={"request_id": request.request_id})
            self._release(request)
            return
        fresh = FreshIds(ids.new(ids.DECISION), ids.new(ids.ATTEMPT))
        span = self._telemetry.start(
            "router.decide",
            request.traceparent,
            kind=SpanKind.CONSUMER,
            start_unix_ns=time.time_ns() - time.perf_counter_ns() + received.received_ns,
            from_outside=not received.reply_to.startswith(INGRESS_INBOX),
        )
        if isinstance(request, Reroute):
            self._fallback.learn(request.tenant, request.failed_attempts, datetime.now(UTC))
        context = self._context_of(request.tenant)
        deciding = _Deciding(received, request, context, fresh, span)
        decision = self._decide(deciding)
        tenant = context.tenant
        if decision.run is None:
            self._release(request)
            if tenant is not None and asks_to_wait(decision) and self._limiter.limits(request, tenant):
                self._spawn(self._look_and_refuse(deciding, tenant, decision))
                return
        elif not isinstance(request, Reroute) and tenant is not None:
            admitted = self._limiter.try_admit(request, len(received.body), tenant)
            if admitted is None:
                self._spawn(self._admit_and_publish(deciding, request, tenant, decision))
                return
            decision = self._limit(decision, admitted)
        if decision.run is not None and decision.needs.amounts:
            reservation = self._credit.try_reserve(decision.run, decision.needs, _handed_back(request))
            if reservation is None:
                self._spawn(self._reserve_and_publish(deciding, decision))
                return
            decision = reserve(decision, reservation, self._credit.allowance_use(decision.run, reservation))
        elif decision.run is not None:
            self._return_hold(request)
        await self._publish_decision(deciding, decision)

    def _decide(self, deciding: _Deciding) -> RoutingDecision:
        request, context = deciding.request, deciding.context
        needs_of = self._credit.needs_of(request, len(deciding.received.body), context.tenant, context.now)
        return decide(request, context, deciding.fresh, traceparent=deciding.span.traceparent, needs_of=needs_of)

    async def _admit_and_publish(
        self, deciding: _Deciding, request: ChatRequest | EmbeddingRequest, tenant: Tenant, decision: RoutingDecision
    ) -> None:
        work_for(deciding.span)
        admitted = await self._limiter.admit(request, len(deciding.received.body), tenant)
        await self._reserve_and_publish(deciding, self._limit(decision, admitted))

    async def _reserve_and_publish(self, deciding: _Deciding, decision: RoutingDecision) -> None:
        """Reserve what the attempt may spend; where an account has too little, plan again without what it cannot pay for."""
        work_for(deciding.span)
        for _ in range(_MAX_PLANS):
            run = decision.run
            if run is None or not decision.needs.amounts:
                break
            try:
                found = await self._credit.reserve(run, decision.needs)
            except LedgerUnavailable:
                self._end_probe(decision)
                decision = refuse(decision, NO_LEDGER)
                self._put_back(run)
                break
            if isinstance(found, Reservation):
                decision = reserve(decision, found, self._credit.allowance_use(run, found))
                break
            self._end_probe(decision)
            decision = self._decide(deciding)
            if decision.run is None:
                self._put_back(run)
            elif run.rate_limits is not None:
                decision = limit(decision, Admitted(run.admission, run.rate_limits))
        else:
            if decision.run is not None and decision.needs.amounts:
                self._end_probe(decision)
                self._put_back(decision.run)
                decision = refuse(decision, NO_LEDGER)
        run_now = decision.run
        if run_now is not None and run_now.reservation is not None and _is_late(run_now):
            # Its caller is about to send it again, or has done so.
            self._end_probe(decision)
            self._credit.put_back(run_now.reservation)
            self._put_back(run_now)
            deciding.span.fail(FailureClass.EXPIRED.value)
            deciding.span.end()
            return
        await self._publish_decision(deciding, decision)

    def _end_probe(self, decision: RoutingDecision) -> None:
        """Let another request probe what this one will not."""
        if decision.plan.probed is not None:
            self._cancel_probe(decision.plan.probed)

    def _put_back(self, run: AttemptRun) -> None:
        """Put back what a request holds of the limits that is not made."""
        if run.admission is None:
            return
        if run.failed_attempts:
            self._limiter.release(run.tenant, run.admission)
        else:
            self._limiter.put_back(run.tenant, run.admission)

    def _limit(self, decision: RoutingDecision, admitted: Admitted) -> RoutingDecision:
        """Return the decision, or the refusal where a limit is reached: its probe is for a request that is made."""
        if admitted.failure is not None:
            self._end_probe(decision)
        return limit(decision, admitted)

    async def _look_and_refuse(self, deciding: _Deciding, tenant: Tenant, decision: RoutingDecision) -> None:
        """Refuse a request until both a candidate and the caller's own limits allow it again."""
        seen = await self._limiter.look(deciding.request, len(deciding.received.body), tenant)
        await self._publish_decision(deciding, wait_for_limits(decision, seen))

    def _release(self, request: Request) -> None:
        """Release what a request holds that ends here, after its earlier attempts have failed."""
        self._return_hold(request)
        if isinstance(request, Reroute) and request.admission is not None:
            self._limiter.release(request.tenant, request.admission)

    def _return_hold(self, request: Request) -> None:
        """Put back what a worker handed back, if the request has no use for it."""
        if (handed_back := _handed_back(request)) is not None:
            self._credit.put_back(handed_back)

    async def _publish_decision(self, deciding: _Deciding, decision: RoutingDecision) -> None:
        received, fresh, span = deciding.received, deciding.fresh, deciding.span
        request, inbox = deciding.request, received.reply_to
        if decision.run is not None:
            self._fallback.count(decision.run, time.monotonic())
        try:
            if decision.run is not None:
                attempt = decision.run.with_body(received.body)
                await self._publish(ATTEMPT_RUN.format(provider=decision.run.provider), attempt, inbox)
            elif decision.refused is not None:
                await self._publish(inbox, decision.refused.to_frame(), "")
        except NatsError:
            if decision.run is not None:
                self._end_probe(decision)
                if decision.run.reservation is not None:
                    self._credit.put_back(decision.run.reservation)
                if decision.run.admission is not None:
                    self._limiter.put_back(request.tenant, decision.run.admission)
            _log.warning("a decision could not be published", extra={"request_id": request.request_id})
        decision_record = record(
            request,
            decision,
            fresh,
            router=self._router,
            now=datetime.now(UTC),
            duration_us=(time.perf_counter_ns() - received.received_ns) // 1000,
            trace=span.traceparent,
        )
        self._decisions.put(decision_record.encode())
        count_decision(request, decision, received.received_ns)
        describe_decision(span, decision_record)
        self._telemetry.finish(span)


class ManagementHandlers:
    """Answers the operator's requests."""

    def __init__(self, store: EndpointStore, context_of: ContextOf, policy: AddressPolicy, probe: ProbeAddress) -> None:
        self._store = store
        self._context_of = context_of
        self._policy = policy
        self._probe = probe

    def register(self, bus: Bus) -> None:
        """Subscribe to management requests. Call before the bus is started."""
        bus.respond(ENDPOINT_SAVE, self.save_endpoint)
        bus.respond(ENDPOINT_REMOVE, self.remove_endpoint)
        bus.respond(ENDPOINT_LIST, self.list_endpoints)
        bus.respond(MODEL_LIST, self.list_models)

    async def save_endpoint(self, command: SaveEndpoint) -> SavedEndpoint:
        """Add or replace an endpoint, unless its address or its models cannot work."""
        context = self._context_of(command.tenant)
        require_tenant(command.tenant, context)
        if command.name in context.own_servers:
            raise Refused(
                ErrorCode.CONFLICT,
                f"{command.tenant} has a provider key for a server called {command.name}: choose another name, or rename"
                f" that server (`keyferry keys edit KEY_ID --name NAME --tenant {command.tenant}`)",
            )
        try:
            endpoint = validate_endpoint(command)
            warnings = check_address(find_forbidden(endpoint, self._policy), probe=command.probe)
            found = await self._try(endpoint) if command.probe and endpoint.enabled else None
            warnings += check_probe(endpoint, found) if found is not None else []
        except InvalidEndpoint as error:
            raise Refused(ErrorCode.INVALID, str(error)) from None
        with refuse_outages(_UNKNOWN_WRITE, contents="endpoints"):
            await self._store.save(endpoint, command.actor)
        return SavedEndpoint(**endpoint.model_dump(), probe=found, warnings=warnings)

    async def _try(self, endpoint: Endpoint) -> EndpointProbe:
        try:
            return await self._probe(ProbeEndpoint(base_url=endpoint.base_url))
        except BusError as error:
            message = f"nothing was saved, because no provider worker tried the address: {error}. {SAVE_ANYWAY}"
            raise Refused(ErrorCode.UNAVAILABLE, message) from None

    async def remove_endpoint(self, command: RemoveEndpoint) -> Endpoint:
        """Remove an endpoint."""
        with refuse_outages(_UNKNOWN_WRITE, contents="endpoints"):
            removed = await self._store.remove(command)
        if removed is None:
            raise Refused(ErrorCode.NOT_FOUND, f"the tenant {command.tenant} has no endpoint {command.name}")
        return removed

    async def list_endpoints(self, command: ListEndpoints) -> Endpoints:
        """Return all endpoints of a tenant, in the order they are tried."""
        with refuse_outages("so it cannot list them: try again in a moment", contents="endpoints"):
            return Endpoints(endpoints=await self._store.of_tenant(command.tenant))

    async def list_models(self, command: ListModels) -> Models:
        """Return the models that a tenant can call now. Raises Refused while what limits its requests cannot be read."""
        context = self._context_of(command.tenant).with_preferences_of(
            RouteRequest(
                command.tenant, "", team=command.team, member=command.member, client_token_id=command.client_token_id
            )
        )
        if context.unreadable is not None:
            raise Refused(ErrorCode.UNAVAILABLE, context.unreadable)
        asked = command.allowed_models if command.unavailable and context.tenant is not None else None
        unknown = [name for name in asked or () if leads_nowhere(name, context)]
        return Models(models=available_models(context, command), unknown=unknown)
