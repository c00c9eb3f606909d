"""Wires the console: the only file here that names concrete things."""

from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

from keyferry.contracts.topology import Role
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.http.cors import allow_origins
from keyferry.runtime.http.server import HttpServer, wait_until_ready
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.providers import follow_providers
from keyferry.runtime.service_levels.reporting import ServiceLevelReporter
from services.console.handlers import build_application
from services.console.incoming_webhooks import REFUSED_PER_MINUTE, IncomingWebhooks
from services.console.live_events.hub import LiveEvents
from services.console.middleware import ManagementMiddleware
from services.console.page.files import PageFiles
from services.console.page.site import PageSite
from services.console.sealing import Sealer
from services.console.service_client import ServiceClient
from services.console.service_levels import TimedApplication
from services.console.service_reports import ReportCollector
from services.console.settings import ConsoleSettings
from services.console.sign_in.assembly import assemble_sign_in

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app(settings: ConsoleSettings | None = None) -> Service:
    """Return the console as a service that is not started. Raises SettingsError."""
    settings = settings or load(ConsoleSettings)
    service = Service(Role.CONSOLE, settings)
    follow_providers(service)
    levels = ServiceLevelReporter(service).attach()
    sign_in = assemble_sign_in(settings, service.bus, settings.operator_token(), partial(datetime.now, UTC))
    live = LiveEvents(service.bus, sign_in.authenticate.recheck)
    routes = build_application(
        ask=service.bus.ask,
        sealer=Sealer(settings.intake_public_key(), own=[settings.operator_token()]),
        clock=partial(datetime.now, UTC),
        waiting_for=service.waiting_for,
        draining=lambda: service.draining,
        live=live,
        collect=ReportCollector(service.bus),
    )
    middleware = ManagementMiddleware(
        routes,
        authenticate=sign_in.authenticate,
        sign_in=sign_in.routes,
        page=_page(settings),
        webhooks=IncomingWebhooks(ServiceClient(service.bus.ask), AddressLimiter(REFUSED_PER_MINUTE)),
        waiting_for=service.waiting_for,
        telemetry=service.telemetry,
        upload_timeout_seconds=settings.upload_timeout_seconds,
        failures=AddressLimiter(settings.failures_per_minute),
    )
    application = allow_origins(TimedApplication(middleware, levels.add), settings.console_cors_origins, _METHODS)
    tls = settings.server_tls()
    server = HttpServer(
        application,
        settings.http_host,
        settings.http_port,
        drain_seconds=settings.drain_seconds,
        limits=settings.connection_limits(),
        tls=tls,
    )
    service.bus.watch_certificate("http", tls)
    service.opens(sign_in.sessions.start, sign_in.stop)
    service.opens(live.start)
    service.opens(lambda: wait_until_ready(service.waiting_for))
    service.opens(server.start)
    service.leaves(live.drain)
    service.leaves(server.drain)
    service.facts = lambda: {
        "url": f"{'http' if tls is None else 'https'}://{settings.http_host}:{settings.http_port}",
        "event_streams": str(live.open),
    }
    return service


def _page(settings: ConsoleSettings) -> PageSite:
    api_origin = settings.api_origin()
    return PageSite(PageFiles(settings.page_dir, {"api_url": api_origin, "version": version("keyferry")}), api_origin)
