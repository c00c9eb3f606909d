"""The routes `/events`."""

from functools import partial
from typing import Annotated

from fastapi import Query, Request

from keyferry.runtime.http.problem import HttpProblem
from services.console.access import RouteSpec
from services.console.live_events.bodies import LiveQuery, OwnLiveQuery
from services.console.live_events.hub import LiveEvents
from services.console.live_events.response import EVENT_STREAM, EventStreamResponse
from services.console.live_events.stream import EventStream
from services.console.live_events.topics import INSTALLATION_ROUTES, TENANT_ROUTES, Audience, choose_topics
from services.console.tenant_context import CurrentPrincipal, CurrentTenant, TenantContext, unknown_tenant

_LAST_EVENT_ID = "last-event-id"


class LiveEventRoutes:
    """The streams of events of a tenant and of the installation."""

    def __init__(self, hub: LiveEvents | None) -> None:
        self._hub = hub

    def own_specs(self) -> tuple[RouteSpec, ...]:
        """Return the route about the credential's tenant."""
        return (RouteSpec("GET", "/events", "stream_events", self.own, media_types=(EVENT_STREAM,)),)

    def tenant_specs(self) -> tuple[RouteSpec, ...]:
        """Return the route about a tenant that an operator acts for."""
        return (RouteSpec("GET", "/events", "stream_events", self.of_tenant, media_types=(EVENT_STREAM,)),)

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the route about the installation."""
        return (RouteSpec("GET", "/events", "stream_all_events", self.installation, media_types=(EVENT_STREAM,)),)

    async def own(
        self,
        context: CurrentTenant,
        principal: CurrentPrincipal,
        query: Annotated[OwnLiveQuery, Query()],
        request: Request,
    ) -> EventStreamResponse:
        """Stream what happens in the tenant, as server-sent events: see docs/guides/live-events.md."""
        if query.tenant is not None and query.tenant != context.tenant:
            raise unknown_tenant()
        return self._open(context, principal, query, request, context.tenant)

    async def of_tenant(
        self,
        context: CurrentTenant,
        principal: CurrentPrincipal,
        query: Annotated[LiveQuery, Query()],
        request: Request,
    ) -> EventStreamResponse:
        """Stream what happens in a tenant, as server-sent events, to an operator who acts for it."""
        return self._open(context, principal, query, request, context.tenant)

    async def installation(
        self,
        context: CurrentTenant,
        principal: CurrentPrincipal,
        query: Annotated[LiveQuery, Query()],
        request: Request,
    ) -> EventStreamResponse:
        """Stream what happens in the installation: health, counts of requests, dead letters."""
        return self._open(context, principal, query, request, None)

    def _open(
        self,
        context: TenantContext,
        principal: CurrentPrincipal,
        query: LiveQuery,
        request: Request,
        tenant: str | None,
    ) -> EventStreamResponse:
        routes = INSTALLATION_ROUTES if tenant is None else TENANT_ROUTES
        topics = choose_topics(query.topics, context.role, routes)
        if self._hub is None:
            raise HttpProblem(503, "overloaded_error", "unavailable", "this console has no live events")
        audience = Audience(tenant, context.role, context.actor, topics)
        session = principal.actor if principal.login is None else principal.login.session.session_id
        feed = self._hub.attach(audience, session)
        last_event_id = request.headers.get(_LAST_EVENT_ID) or query.last_event_id or ""
        stream = EventStream(self._hub, feed, principal, partial(self._hub.recheck, request.scope), last_event_id)
        return EventStreamResponse(stream)
