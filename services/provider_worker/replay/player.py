"""Plays a recording: a loopback server answers with it to a call by the worker's own client."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from urllib.parse import urlsplit

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.usage import KeySource
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import UpstreamError
from services.provider_worker.adapters.adapter import Adapter, Answer, RefusedByAdapter
from services.provider_worker.replay.recording import Recording, caller_body

_TIMEOUTS = Timeouts(connect_seconds=5.0, first_byte_seconds=10.0, between_bytes_seconds=10.0)
_LOOPBACK = ip_network("127.0.0.0/8")
_LARGEST_PIECES = (1, 2, 7, 64, 1024, 16384)
_MOST_PIECES = 2000
"""More cuts than that find nothing new, and a large recording cut into single bytes would take seconds."""
_KEY_FIELDS = {"region": "us-east-1", "project": "replayed", "location": "us-central1"}
"""Fields without which some providers have no address. The server's address replaces it."""


def rechunk(data: bytes, seed: int) -> Iterator[bytes]:
    """Yield `data` cut at random offsets: small pieces with some seeds, large ones with others."""
    source = random.Random(seed)
    largest = max(source.choice(_LARGEST_PIECES), 2 * len(data) // _MOST_PIECES)
    start = 0
    while start < len(data):
        end = start + source.randint(1, largest)
        yield data[start:end]
        start = end


async def play(
    recorded: Recording, adapter: Adapter, provider: str, client: UpstreamClient, seed: int
) -> tuple[list[bytes], Answer]:
    """Return the chunks and the answer that the adapter makes of the recording."""
    async with _serve(recorded, seed) as origin:
        run = _run(recorded, provider, origin)
        chunks: list[bytes] = []
        try:
            request = adapter.request(run, caller_body(recorded))
            url = origin + request.url.removeprefix(_origin(request.url))
            async with client.stream("POST", url, request.headers, request.content, _TIMEOUTS) as response:
                reader = adapter.reader(run, request, response.status, response.headers)
                async for data in response.aiter_raw():
                    # Read to the end in any case: the client would keep reading the rest, and nothing may outlive the event loop.
                    chunks += [] if reader.over else reader.feed(data)
                answer = reader.close()
                return [*chunks, *answer.late], answer
        except RefusedByAdapter as error:
            return chunks, Answer(failure=error.failure)
        except UpstreamError as error:
            failure = Failure(failure_class=FailureClass.SERVER, message=str(error), where=Where.NO_ANSWER)
            return chunks, Answer(failure=failure)


def loopback_client() -> UpstreamClient:
    """Create the worker's HTTP client, allowed to call servers on loopback. Close it after use."""
    return UpstreamClient(allow=(_LOOPBACK,))


@asynccontextmanager
async def _serve(recorded: Recording, seed: int) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _read_request(reader)
            writer.write(_head(recorded))
            for piece in rechunk(recorded.body, seed):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(0)  # so that the caller receives this piece by itself
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        except ConnectionError:
            pass  # a reader that is done hangs up
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))


def _head(recorded: Recording) -> bytes:
    lines = [f"HTTP/1.1 {recorded.status} Recorded", "transfer-encoding: chunked", "connection: close"]
    lines += [f"{name}: {' '.join(value.split())}" for name, value in recorded.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _run(recorded: Recording, provider: str, origin: str) -> AttemptRun:
    return AttemptRun(
        request_id="req_replay",
        kind=recorded.kind,
        tenant="replay",
        model=recorded.model,
        model_asked=recorded.model,
        stream=recorded.stream,
        include_usage=recorded.stream,
        deadline_ms=60_000,
        start_by_unix_ms=0,
        attempt_id="att_replay",
        attempt_number=1,
        decision_id="dec_replay",
        provider=provider,
        base_url=origin,
        key_source=KeySource.NONE,
        key_fields=_KEY_FIELDS,
        drop_unsupported=True,
    )
