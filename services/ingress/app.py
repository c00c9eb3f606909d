"""Wires the ingress: the only file here that names concrete things."""

import asyncio
from datetime import datetime

from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.http.cors import allow_origins
from keyferry.runtime.http.server import HttpServer, wait_until_ready
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.request.inbox import CallInbox
from keyferry.runtime.views import KvView
from services.ingress.handlers import OpenAIHandlers
from services.ingress.identity import ClientIdentity, identify
from services.ingress.settings import IngressSettings

_SHUTDOWN_ERROR_SECONDS = 2.0
"""To send an error to the clients that are still connected when the drain time is over."""


def create_app(settings: IngressSettings | None = None) -> Service:
    """Return the ingress as a service that is not started. Raises SettingsError."""
    settings = settings or load(IngressSettings)
    service = Service(Role.INGRESS, settings)
    tenants = KvView(service.bus, TENANTS_VIEW)
    tokens = KvView(service.bus, CLIENT_TOKENS_VIEW)
    pepper = settings.token_pepper()
    callers: list[CallInbox] = []

    def authenticate(authorization: str | None, now: datetime) -> ClientIdentity:
        return identify(
            authorization,
            tokens=tokens.get,
            tenants=tenants.get,
            unreadable=tenants.unreadable_owners,
            pepper=pepper,
            now=now,
        )

    async def open_caller() -> None:
        callers.append(CallInbox(service.bus.client, service.bus.inbox_prefix, service.bus.instance_id))
        await callers[0].start()
        service.closes(callers[0].stop)

    handlers = OpenAIHandlers(
        settings=settings,
        bus=service.bus,
        caller=lambda: callers[0],
        authenticate=authenticate,
        telemetry=service.telemetry,
        waiting_for=service.waiting_for,
        draining=lambda: service.draining,
    )
    for view in (tenants, tokens):
        service.opens(view.start, view.stop)
        service.needs_view(view)
    service.opens(open_caller)
    _serve_http(service, settings, handlers, callers)
    service.facts = lambda: {
        "url": f"http://{settings.http_host}:{settings.http_port}",
        "open_calls": str(callers[0].open_calls),
        "client_tokens": str(len(tokens)),
    }
    return service


def _serve_http(
    service: Service, settings: IngressSettings, handlers: OpenAIHandlers, callers: list[CallInbox]
) -> None:
    drain_seconds = settings.drain_seconds + _SHUTDOWN_ERROR_SECONDS
    server = HttpServer(
        allow_origins(handlers, settings.cors_origins, ("GET", "POST")),
        settings.http_host,
        settings.http_port,
        drain_seconds=drain_seconds,
        limits=settings.connection_limits(),
    )

    async def drain() -> None:
        """End responses that take longer than the drain time with an error, not with a closed connection."""
        draining = asyncio.ensure_future(server.drain())
        await asyncio.wait({draining}, timeout=settings.drain_seconds)
        if not draining.done():
            callers[0].lose_all("the gateway restarts and could not wait for the end of the answer")
        await draining

    service.opens(lambda: wait_until_ready(service.waiting_for))
    service.opens(server.start)
    service.leaves(drain)
