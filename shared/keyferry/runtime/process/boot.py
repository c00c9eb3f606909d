"""Start of a service's process with as few imports as possible: they are half of a warm start of the whole system."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from keyferry.contracts.topology import Role


def boot(app: str, role: Role) -> None:
    """Run the service whose module `app` (a dotted name) has `create_app` until it is stopped; exit with its status.

    The garbage collector is off during imports, since nearly everything they create stays: `main` turns it on.
    """
    gc.disable()
    with _without("aiohttp"):
        # nats-py imports it for websockets, which are not used here; a tenth of a process's start.
        importlib.import_module("nats.aio.client")
    with _without("uvicorn"):
        # FastStream imports it for its own command line; services that serve HTTP import it later themselves.
        importlib.import_module("faststream.nats")
    lifecycle = importlib.import_module("keyferry.runtime.process.lifecycle")
    lifecycle.main(role, importlib.import_module(app).create_app)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Make `import module` fail inside the block, as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # the import system reads None as "not installed"
    try:
        yield
    finally:
        del sys.modules[module]
