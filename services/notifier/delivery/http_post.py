"""One POST to an address that a tenant named, through the guarded client, with its answer bounded in size and time.

The client checks the address at each connection and follows no redirect: an answer that redirects is a failure like others.
"""

import asyncio
import time
from collections.abc import Mapping

from keyferry.runtime.upstream.client import Timeouts, UpstreamClient, UpstreamResponse
from keyferry.runtime.upstream.errors import IncompleteResponse, UpstreamError
from services.notifier.delivery.outcome import DeliveryOutcome, failed, of_http

POST_SECONDS = 15.0
"""For all of it. An answer whose status has come by then counts; the rest is not read."""
_TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=10, between_bytes_seconds=5)
_MAX_READ_BYTES = 4096


class HttpPoster:
    """Posts within `within_seconds`."""

    def __init__(self, client: UpstreamClient, *, within_seconds: float = POST_SECONDS) -> None:
        self._client = client
        self._within_seconds = within_seconds

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryOutcome:
        """Post `body` and return what came of it; nothing raises for what a server sends or fails to send."""
        started = time.monotonic()
        status: int | None = None
        read = bytearray()
        whole = False
        try:
            async with (
                asyncio.timeout(self._within_seconds),
                self._client.stream("POST", url, headers, body, _TIMEOUTS) as response,
            ):
                status = response.status
                whole = await _read(response, read)
        except (UpstreamError, TimeoutError) as error:
            if status is None:
                reason = str(error) or f"no answer within {self._within_seconds:g} s"
                return failed(reason, _since(started))
        return of_http(status, bytes(read), _since(started), whole=whole)


async def _read(response: UpstreamResponse, into: bytearray) -> bool:
    """Read the beginning of a body; return whether that is all of it. Raises IncompleteResponse."""
    async for piece in response.aiter_raw():
        into += piece[: _MAX_READ_BYTES - len(into)]
        if len(into) >= _MAX_READ_BYTES:
            raise IncompleteResponse(response.origin, "only its beginning is read")
    return True


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
