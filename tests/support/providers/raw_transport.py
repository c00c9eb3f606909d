"""Requests straight through the worker's transport, without the client's own checks of URL and headers before it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from yarl import URL

from keyferry.contracts.origin import Origin
from keyferry.runtime.upstream.transport import AiohttpTransport, Reply


@asynccontextmanager
async def closing(transport: AiohttpTransport) -> AsyncIterator[AiohttpTransport]:
    """Yield the transport and close it at the end."""
    try:
        yield transport
    finally:
        await transport.close()


async def send_raw(
    transport: AiohttpTransport,
    url: str,
    *,
    content: bytes = b"{}",
    headers: Mapping[str, str] | None = None,
    **seconds: float | None,
) -> Reply:
    """POST to a URL as httpx reads it, which accepts more than `check_url`. `seconds` are the timeouts of `send`.

    Raises httpx.InvalidURL or ValueError for what the libraries take for no URL, and as `send` does.
    """
    read = httpx.URL(url)
    scheme = "https" if read.scheme == "https" else "http"  # an origin knows no other
    origin = Origin(scheme, read.host, read.port or (443 if scheme == "https" else 80))
    pairs = list((headers or {}).items())
    return await transport.send("POST", URL(str(read), encoded=True), origin, pairs, content, **seconds)
