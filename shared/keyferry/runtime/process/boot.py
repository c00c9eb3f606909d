"""Starts a service's process, importing no more than it needs: half of a warm start of the whole system is imports."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from keyferry.contracts.topology import Role


def boot(app: str, role: Role) -> None:
    """Run the service whose module `app` (a dotted name) has `create_app`, until it is told to stop; exits with its status.

    Garbage is not collected while modules are imported, since nearly all of what they make stays: `main` turns it on.
    """
    gc.disable()
    with _without("aiohttp"):
        # nats-py imports it for websockets, which nobody here speaks; a tenth of a process's start.
        importlib.import_module("nats.aio.client")
    with _without("uvicorn"):
        # FastStream imports it for its own command line; the services with an HTTP face import it later, themselves.
        importlib.import_module("faststream.nats")
    lifecycle = importlib.import_module("keyferry.runtime.process.lifecycle")
    lifecycle.main(role, importlib.import_module(app).create_app)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Importing `module` fails inside the block, as if it were not installed, and works again after it."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # how the import system is told that there is none
    try:
        yield
    finally:
        del sys.modules[module]
