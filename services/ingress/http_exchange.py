"""One HTTP request and its response over ASGI: a bounded body, a response in one piece or as events, client disconnects."""

from collections.abc import Mapping

from keyferry.contracts.text import header_value
from keyferry.runtime.http.asgi import Receive, Scope, Send, get_header
from keyferry.runtime.http.body import RequestBodyLimits
from keyferry.runtime.http.credential import KEY_HEADERS, read_credential
from keyferry.runtime.http.problem import HttpProblem

JSON = "application/json"
_EVENT_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class HttpExchange:
    """A request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self._scope = scope
        self._receive = receive
        self._send = send
        self.status: int | None = None
        """The status that was sent."""
        self.first_piece_at: float | None = None
        """When the first piece of a streamed answer was sent, by `time.perf_counter`."""
        self.broken_by: HttpProblem | None = None
        """Why a stream ended without being whole."""

    @property
    def started(self) -> bool:
        """Whether the status line has been sent."""
        return self.status is not None

    def header(self, name: bytes) -> str | None:
        """Return the first header called `name` (lower case), decoded as Latin-1."""
        return get_header(self._scope, name)

    def credential(self) -> str | None:
        """Return the client's credential as an Authorization header. Raises ConflictingCredentials."""
        return read_credential(self._scope, KEY_HEADERS)

    async def read_body(self, limits: RequestBodyLimits) -> bytes:
        """Read the whole request body. Raises HttpProblem 408, 413 and 415, and ClientDisconnected."""
        return await limits.read(self._scope, self._receive)

    async def wait_for_disconnect(self) -> None:
        """Return when the client has closed the connection; call it only after the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, body: bytes, headers: Mapping[str, str], content_type: str = JSON) -> None:
        """Send the response in one piece."""
        self.status = status
        fixed = (
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        )
        lines = [*fixed, *_encode(headers)]
        await self._send({"type": "http.response.start", "status": status, "headers": lines, "trailers": False})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def start_events(self, headers: Mapping[str, str]) -> None:
        """Begin an event stream."""
        self.status = 200
        lines = [*_EVENT_STREAM, *_encode(headers)]
        await self._send({"type": "http.response.start", "status": 200, "headers": lines, "trailers": False})

    async def send_events(self, data: bytes, *, last: bool = False) -> None:
        """Send bytes of the event stream."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})


def _encode(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), header_value(value).encode()) for name, value in headers.items()]
