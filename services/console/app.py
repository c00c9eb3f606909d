"""Wires the console: the only file here that names concrete things."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import cast

from uvicorn._types import ASGI3Application

from keyferry.contracts.topology import Role
from keyferry.runtime.process.http_server import HttpServer
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from services.console.credential import identify
from services.console.door import Door
from services.console.handlers import application
from services.console.sealing import Sealer
from services.console.settings import ConsoleSettings

_LISTEN_ANYWAY_SECONDS = 10.0
"""Then the door opens without what it needs, and its 503 says what that is."""
_POLL_SECONDS = 0.01


def create_app(settings: ConsoleSettings | None = None) -> Service:
    """The console as a service that is not started. Raises SettingsError."""
    settings = settings or load(ConsoleSettings)
    service = Service(Role.CONSOLE, settings)
    routes = application(
        ask=service.bus.ask,
        sealer=Sealer(settings.intake_public_key()),
        clock=partial(datetime.now, UTC),
        waiting_for=service.waiting_for,
        draining=lambda: service.draining,
    )
    door = Door(
        routes,
        identify=partial(identify, operator_token=settings.operator_token()),
        waiting_for=service.waiting_for,
        telemetry=service.telemetry,
        upload_timeout_seconds=settings.upload_timeout_seconds,
    )
    # Starlette and uvicorn have types of their own for one and the same ASGI 3 application.
    server = HttpServer(
        cast(ASGI3Application, door), settings.http_host, settings.http_port, drain_seconds=settings.drain_seconds
    )

    async def until_it_can_answer() -> None:
        """A successor shares the port with the process that it replaces: listening means taking requests from it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LISTEN_ANYWAY_SECONDS):
                while service.waiting_for():  # noqa: ASYNC110 - once, at the start of the process's life
                    await asyncio.sleep(_POLL_SECONDS)

    service.opens(until_it_can_answer)
    service.opens(server.start)
    service.leaves(server.drain)
    service.facts = lambda: {"url": f"http://{settings.http_host}:{settings.http_port}"}
    return service
