"""What one upstream POST costs in CPU: the worker's client beside native httpx, in turns within one run.

    uv run python -m tests.bench.upstream_client

The server is another process, so the CPU time of this one is the client's alone. Compare the ratio; the microseconds are the
machine's.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import httpx
import uvloop

from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from tests.bench import payload, tools, upstream
from tests.bench.case import Kind

ROUNDS = 5
CALLS = 2_000
CONCURRENCY = 64
_HEADERS = {"Authorization": "Bearer sk-bench", "Content-Type": "application/json", "Accept": "application/json"}
_TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=60, between_bytes_seconds=60)

Post = Callable[[], Awaitable[int]]
"""One whole exchange: the number of body bytes received."""


async def cpu_microseconds(post: Post, expected_bytes: int) -> float:
    """CPU time of this process for one call, over CALLS calls of which CONCURRENCY run at once."""

    async def some() -> None:
        for _ in range(CALLS // CONCURRENCY):
            received = await post()
            if received != expected_bytes:
                raise RuntimeError(f"{received} bytes came instead of {expected_bytes}")

    started = time.process_time()
    await asyncio.gather(*(some() for _ in range(CONCURRENCY)))
    return (time.process_time() - started) * 1e6 / (CALLS // CONCURRENCY * CONCURRENCY)


async def compare(url: str, body: bytes, expected_bytes: int) -> dict[str, float]:
    """Median CPU microseconds of a POST for each client."""
    ours = UpstreamClient((ip_network("127.0.0.0/8"),))
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with (
        httpx.AsyncClient(trust_env=False, limits=limits) as native,
        aiohttp.ClientSession(auto_decompress=False) as bare,
    ):

        async def with_ours() -> int:
            async with ours.stream("POST", url, _HEADERS, body, _TIMEOUTS) as response:
                return sum([len(piece) async for piece in response.aiter_raw()])

        async def with_native() -> int:
            async with native.stream("POST", url, headers=_HEADERS, content=body) as response:
                return sum([len(piece) async for piece in response.aiter_raw()])

        async def with_bare() -> int:
            async with bare.post(url, headers=_HEADERS, data=body) as response:
                return len(await response.read())

        clients: dict[str, Post] = {"native httpx": with_native, "ours": with_ours, "bare aiohttp": with_bare}
        taken: dict[str, list[float]] = {name: [] for name in clients}
        for round_number in range(ROUNDS + 1):
            for name, post in clients.items():
                microseconds = await cpu_microseconds(post, expected_bytes)
                if round_number > 0:  # the first opens the connections
                    taken[name].append(microseconds)
    await ours.close()
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    """Run the comparison, and print it."""
    with tempfile.TemporaryDirectory() as name, upstream.running(tools.find("nginx"), Path(name)) as server:
        body = payload.request_body(payload.PLAIN_MODEL, False)
        url = server.target(Kind.PLAIN).base_url + "/chat/completions"
        medians = uvloop.run(compare(url, body, len(payload.plain_answer())))
    print(f"POST of {len(body)} bytes, {CONCURRENCY} at once, median of {ROUNDS} rounds of {CALLS} calls")
    for client, microseconds in medians.items():
        ratio = microseconds / medians["native httpx"]
        print(f"{client:14} {microseconds:7.0f} µs CPU   {ratio:5.2f} of native httpx")


if __name__ == "__main__":
    main()
