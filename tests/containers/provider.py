"""The scripted provider in a container of its own: port 9000 for the workers, and its log for the tests at `/calls`."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
from aiohttp import web

from tests.support.providers.scripted_answers import by_script
from tests.support.providers.upstream import Call, ProviderRequest, Upstream

PORT = 9000
BASE_URL = f"http://provider:{PORT}/v1"
"""What an endpoint is added with, in the network of the containers."""


@dataclass
class RemoteUpstream:
    """The provider in the container, seen from the tests."""

    port: int
    _known: list[Call] = field(default_factory=list)

    @property
    def calls(self) -> list[Call]:
        """All calls so far, in their order."""
        url = f"http://127.0.0.1:{self.port}/calls"
        response = httpx.get(url, params={"after": len(self._known)}, timeout=30, trust_env=False)
        self._known.extend(_read_calls(response.json()))
        return self._known


def _read_calls(lines: list[dict[str, Any]]) -> Iterator[Call]:
    for line in lines:
        yield Call(ProviderRequest(**line))


def serve() -> None:
    """Serve until the process is stopped."""
    upstream = Upstream(by_script)

    async def calls(request: web.Request) -> web.Response:
        later = upstream.calls[int(request.query.get("after", "0")) :]
        # Headers hold the workers' keys, which no test asks for here.
        lines = [{**asdict(call.request), "headers": {}} for call in later]
        return web.Response(text=json.dumps(lines), content_type="application/json")

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_get("/calls", calls)
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    web.run_app(app, host="0.0.0.0", port=PORT, print=None, handler_cancellation=True, shutdown_timeout=1)


if __name__ == "__main__":
    serve()
