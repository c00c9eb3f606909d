"""The event loop of the services."""

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return uvloop, as in the services."""
    return {"uvloop": uvloop.new_event_loop}
