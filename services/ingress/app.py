"""Wires the ingress: the only file here that names concrete things."""

import asyncio
from datetime import datetime
from functools import partial

from keyferry.contracts.client_token_management import TOKEN_USED
from keyferry.contracts.client_token_use import ClientTokensUsed
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken, Tenant
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.http.asgi import Application
from keyferry.runtime.http.cors import allow_origins
from keyferry.runtime.http.server import HttpServer, wait_until_ready
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.request.inbox import CallInbox
from keyferry.runtime.service_levels.reporting import ServiceLevelReporter
from keyferry.runtime.views import KvView
from services.ingress.handlers import Authenticate, OpenAIHandlers
from services.ingress.identity import ClientIdentity, identify
from services.ingress.service_levels import RequestLevels
from services.ingress.settings import IngressSettings
from services.ingress.token_origins import TokenOrigins
from services.ingress.token_use import TokenUses

_SHUTDOWN_ERROR_SECONDS = 2.0
"""To send an error to the clients that are still connected when the drain time is over."""


def create_app(settings: IngressSettings | None = None) -> Service:
    """Return the ingress as a service that is not started. Raises SettingsError."""
    settings = settings or load(IngressSettings)
    service = Service(Role.INGRESS, settings)
    tenants = KvView(service.bus, TENANTS_VIEW)
    tokens = KvView(service.bus, CLIENT_TOKENS_VIEW)
    grants = settings.grant_signer()
    callers: list[CallInbox] = []

    origins = TokenOrigins()
    tokens.on_entry_change(origins.update)
    uses = TokenUses(partial(_report_uses, service), settings.token_use_seconds)

    async def open_caller() -> None:
        callers.append(CallInbox(service.bus.client, service.bus.inbox_prefix, service.bus.instance_id, grants))
        await callers[0].start()
        service.closes(callers[0].stop)

    handlers = OpenAIHandlers(
        settings=settings,
        bus=service.bus,
        caller=lambda: callers[0],
        authenticate=_authenticator(tokens, tenants, settings.token_pepper(), uses),
        telemetry=service.telemetry,
        waiting_for=service.waiting_for,
        draining=lambda: service.draining,
        levels=RequestLevels(ServiceLevelReporter(service).attach().add),
    )
    for view in (tenants, tokens):
        service.opens(view.start, view.stop)
        service.needs_view(view)
    service.opens(open_caller)
    service.opens(uses.start, uses.stop)
    service.drains(uses.report)
    app = allow_origins(handlers, settings.cors_origins, ("GET", "POST"), origins)
    _serve_http(service, settings, app, callers)
    service.facts = lambda: {
        "url": f"http://{settings.http_host}:{settings.http_port}",
        "open_calls": str(callers[0].open_calls),
        "client_tokens": str(len(tokens)),
    }
    return service


def _authenticator(
    tokens: KvView[ClientToken], tenants: KvView[Tenant], pepper: Secret, uses: TokenUses
) -> Authenticate:
    def authenticate(authorization: str | None, now: datetime) -> ClientIdentity:
        identity = identify(
            authorization,
            tokens=tokens.get,
            tenants=tenants.get,
            unreadable=tenants.unreadable_owners,
            pepper=pepper,
            now=now,
        )
        uses.note(identity.token, now)
        return identity

    return authenticate


async def _report_uses(service: Service, report: ClientTokensUsed) -> None:
    await service.bus.client.publish(TOKEN_USED.format(), report.encode())


def _serve_http(service: Service, settings: IngressSettings, app: Application, callers: list[CallInbox]) -> None:
    drain_seconds = settings.drain_seconds + _SHUTDOWN_ERROR_SECONDS
    tls = settings.server_tls()
    service.bus.watch_certificate("http", tls)
    server = HttpServer(
        app,
        settings.http_host,
        settings.http_port,
        drain_seconds=drain_seconds,
        limits=settings.connection_limits(),
        tls=tls,
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
