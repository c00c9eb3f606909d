"""Every test here runs on both event loops: they raise different errors for the same event."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as in the services, and asyncio's own, as in the command line."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
