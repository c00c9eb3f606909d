"""What the three spike processes share: their arguments, their event loop and their NATS connection."""

import argparse
import asyncio
import dataclasses
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import nats
import uvloop
from nats.aio.client import Client


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command line of every spike process.

    Attributes:
        nats_url: the spike's own server.
        directory: where readiness files go.
        upstream_url: scheme, host and port of the zero-latency upstream; only the worker uses it.
    """

    nats_url: str
    directory: Path
    upstream_url: str


def main(role: str, body: Callable[[Client, Arguments], Coroutine[None, None, None]]) -> None:
    """Connect as `role`, run `body` on uvloop, and close the connection after it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nats-url", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--upstream-url", required=True)
    parsed = parser.parse_args()
    arguments = Arguments(parsed.nats_url, parsed.directory, parsed.upstream_url)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(role, body, arguments))


async def until_stopped() -> None:
    """Return on SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


async def _run(
    role: str, body: Callable[[Client, Arguments], Coroutine[None, None, None]], arguments: Arguments
) -> None:
    client = await nats.connect(arguments.nats_url, name=f"spike-{role}", error_cb=_report, allow_reconnect=False)
    try:
        await body(client, arguments)
    finally:
        await client.close()


async def _report(error: Exception) -> None:
    print(f"NATS: {error!r}", file=sys.stderr, flush=True)
