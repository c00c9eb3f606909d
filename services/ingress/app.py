"""Wires the ingress: the only file here that names concrete things."""

import asyncio
from contextlib import suppress
from datetime import datetime

from keyferry.contracts.tenancy import ClientToken, Tenant
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.process.http_server import HttpServer
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.request.calls import Caller
from keyferry.runtime.views import KvView
from services.ingress.handlers import Doors
from services.ingress.identity import Identity, identify
from services.ingress.settings import IngressSettings

_LISTEN_ANYWAY_SECONDS = 10.0
"""Then the door opens without what it needs, and its 503 says what that is."""
_POLL_SECONDS = 0.01
_LAST_WORDS_SECONDS = 2.0
"""To tell the clients that are still there when the drain time is over."""


def create_app(settings: IngressSettings | None = None) -> Service:
    """The ingress as a service that is not started. Raises SettingsError."""
    settings = settings or load(IngressSettings)
    service = Service(Role.INGRESS, settings)
    bus = service.bus
    tenants = KvView(bus, TENANTS_VIEW, Tenant)
    tokens = KvView(bus, CLIENT_TOKENS_VIEW, ClientToken)
    callers: list[Caller] = []
    pepper = settings.token_pepper()

    def authenticate(authorization: str | None, now: datetime) -> Identity:
        return identify(authorization, tokens=tokens.get, tenants=tenants.get, pepper=pepper, now=now)

    async def open_caller() -> None:
        callers.append(Caller(bus.client, bus.inbox_prefix, bus.instance_id))
        await callers[0].start()
        service.closes(callers[0].stop)

    doors = Doors(
        settings=settings,
        bus=bus,
        caller=lambda: callers[0],
        authenticate=authenticate,
        telemetry=service.telemetry,
        waiting_for=service.waiting_for,
        draining=lambda: service.draining,
    )

    async def until_it_can_answer() -> None:
        """A successor shares the port with the process that it replaces: listening means taking requests from it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LISTEN_ANYWAY_SECONDS):
                while service.waiting_for():  # noqa: ASYNC110 - once, at the start of the process's life
                    await asyncio.sleep(_POLL_SECONDS)

    server = HttpServer(
        doors, settings.http_host, settings.http_port, drain_seconds=settings.drain_seconds + _LAST_WORDS_SECONDS
    )

    async def drain() -> None:
        """Answers that take longer than the drain time end with an error that says so, and not with their connection."""
        draining = asyncio.ensure_future(server.drain())
        await asyncio.wait({draining}, timeout=settings.drain_seconds)
        if not draining.done():
            callers[0].lose_all("the gateway restarts and could not wait for the end of the answer")
        await draining

    for view in (tenants, tokens):
        service.opens(view.start, view.stop)
        service.needs_view(view)
    service.opens(open_caller)
    service.opens(until_it_can_answer)
    service.opens(server.start)
    service.leaves(drain)
    service.facts = lambda: {
        "url": f"http://{settings.http_host}:{settings.http_port}",
        "open_calls": str(callers[0].open_calls),
        "client_tokens": str(len(tokens)),
    }
    return service
