"""The operations port of a process: `/metrics`, `/healthz` and `/readyz`, for those who run it and for nobody else.

It has no authentication: by default it listens on loopback, and where it does not, only the operator's network may reach it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.http.asgi import Receive, Scope, Send
from keyferry.runtime.http.limits import ConnectionLimits
from keyferry.runtime.metrics.loop_lag import LoopLag
from keyferry.runtime.metrics.registry import BoundedCounter

if TYPE_CHECKING:
    from keyferry.runtime.http.server import HttpServer

_log = logging.getLogger(__name__)

METRICS, HEALTHZ, READYZ = "/metrics", "/healthz", "/readyz"
_LIMITS = ConnectionLimits(connections=32, connections_per_address=0)
"""Enough for a few Prometheus servers and probes, and too few to take a process's files."""
_DRAIN_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_REPORT_AFTER_SECONDS = 45.0
"""A process that is being replaced has the port until it has drained, which takes 30 seconds by default."""
_JSON = "application/json"

_SCRAPES = BoundedCounter("keyferry_metrics_scrapes_total", "Answers to requests for this process's metrics.")

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class OperationsPort:
    """Serves the figures and the state of one process from its start to its end.

    `waiting_for` returns what keeps the process from being ready. The port is bound to one process: the successor of one that
    drains takes it over as soon as it is free, so that no scrape gets the counts of now one and now the other.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: Collector,
        waiting_for: Callable[[], list[str]],
        draining: Callable[[], bool],
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._waiting_for = waiting_for
        self._draining = draining
        self._lag = LoopLag()
        self._server: HttpServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._problem: str | None = None

    @property
    def served(self) -> bool:
        """Whether it listens now."""
        return self._server is not None

    def alerts(self) -> list[str]:
        """Return what an operator has to attend to: that the port has been taken for longer than a replacement takes."""
        return [] if self._problem is None else [self._problem]

    async def start(self) -> None:
        """Begin to serve, or to wait for the port. Never fails: nobody's request depends on it. Port 0 serves nothing."""
        if self._port:
            self._lag.start()
            self._task = asyncio.create_task(self._listen(), name="operations port")

    async def stop(self) -> None:
        """Stop serving."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            await self._lag.stop()
        if self._server is not None:
            await self._server.drain()
            self._server = None

    async def _listen(self) -> None:
        # Imported here: a process that serves no other HTTP starts sooner without it, and its port is not needed at once.
        from keyferry.runtime.http.server import HttpServer

        began = asyncio.get_running_loop().time()
        while True:
            server = HttpServer(
                self._answer, self._host, self._port, drain_seconds=_DRAIN_SECONDS, limits=_LIMITS, shared=False
            )
            try:
                await server.start()
            except OSError as error:
                if self._problem is None and asyncio.get_running_loop().time() - began >= _REPORT_AFTER_SECONDS:
                    self._report(error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._server, self._problem = server, None
            return

    def _report(self, error: OSError) -> None:
        self._problem = (
            f"its figures cannot be read: {self._host}:{self._port} is taken or no address of this machine"
            " (KEYFERRY_METRICS_HOST, KEYFERRY_METRICS_PORT); it goes on trying"
        )
        _log.warning("the operations port cannot be opened", extra={"error": str(error)})

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, content_type, body = self._respond(scope["method"], scope["path"])
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _respond(self, method: str, path: str) -> Answer:
        if path not in (METRICS, HEALTHZ, READYZ):
            return 404, _JSON, _error(f"there is {METRICS}, {HEALTHZ} and {READYZ}")
        if method not in ("GET", "HEAD"):
            return 405, _JSON, _error("use GET")
        if path == METRICS:
            _SCRAPES.inc()
            return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._metrics)
        if path == HEALTHZ:
            return 200, _JSON, b'{"status":"ok"}'
        waiting = self._waiting_for()
        status = "draining" if self._draining() else "waiting" if waiting else "ready"
        return 200 if status == "ready" else 503, _JSON, orjson.dumps({"status": status, "waiting_for": waiting})


def _error(message: str) -> bytes:
    return orjson.dumps({"error": {"message": message}})
