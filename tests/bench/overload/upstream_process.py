"""A server with many providers in a process of its own: `python -m tests.bench.overload.upstream_process PORT [SECONDS]`.

`POST /NAME/v1/chat/completions` is answered after 100 ms or so many seconds, never, or with 503 at once, as the name's mode
says. `GET /NAME/mode/MODE` sets it,
`GET /NAME/count` returns the number of calls so far, and `GET /NAME/v1/models` lists one model.
"""

import asyncio
import json
import sys
from collections import Counter
from typing import cast

import uvloop

from tests.bench import payload

SERVICE_SECONDS = 0.1
SHARED_MODEL = "gpt-4o-mini"
"""Of the provider whose key all tenants share."""
ANSWER, HANGS, UNAVAILABLE = "answer", "hang", "unavailable"
_END_OF_HEAD = b"\r\n\r\n"


class _Providers:
    """The modes and counts of all names."""

    def __init__(self, service_seconds: float) -> None:
        self.service_seconds = service_seconds
        self.modes: dict[str, str] = {}
        self.calls: Counter[str] = Counter()


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, providers: _Providers) -> None:
        self._providers = providers
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, blank, body = self._data.partition(_END_OF_HEAD)
        if not blank or len(body) < _content_length(head):
            return
        self._data = b""
        name, _, action = head.split(b" ", 2)[1].decode().removeprefix("/").partition("/")
        if action == "count":
            self._write(b"200 OK", str(self._providers.calls[name]).encode())
        elif action.startswith("mode/"):
            self._providers.modes[name] = action.removeprefix("mode/")
            self._write(b"200 OK", b"")
        elif action == "v1/models":
            self._write(b"200 OK", json.dumps({"object": "list", "data": [{"id": SHARED_MODEL}]}).encode())
        else:
            self._call(name)

    def _call(self, name: str) -> None:
        self._providers.calls[name] += 1
        mode = self._providers.modes.get(name, ANSWER)
        if mode == ANSWER:
            asyncio.get_running_loop().call_later(
                self._providers.service_seconds, self._write, b"200 OK", payload.plain_answer()
            )
        elif mode == UNAVAILABLE:
            self._write(b"503 Service Unavailable", b'{"error": {"message": "try later", "type": "server_error"}}')

    def _write(self, status: bytes, body: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d" % (status, len(body))
            self._transport.write(head + _END_OF_HEAD + body)


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


async def _serve(port: int, service_seconds: float) -> None:
    providers = _Providers(service_seconds)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(providers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else SERVICE_SECONDS))
