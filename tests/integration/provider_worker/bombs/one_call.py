"""A process for one call with the worker's client and an adapter: it reports the outcome and the memory used.

    python -m tests.integration.provider_worker.bombs.one_call

Each line of the input is a list of arguments, `URL [--stream] [--undefended]` as JSON. A child, forked from a process that has
everything imported and has called nobody, makes the call and prints what it came to as a line. The growth is the child's peak
after the call over what it held just before it, after a small call has warmed everything up.
"""

import argparse
import asyncio
import json
import os
import sys
import traceback
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from pathlib import Path

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import KeySource
from keyferry.runtime.upstream import inflate
from keyferry.runtime.upstream.client import ResponseLimits, Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import UpstreamError
from services.provider_worker.adapters.registry import adapter_for
from services.provider_worker.adapters.response import json_text as documents

TIMEOUTS = Timeouts(connect_seconds=60, first_byte_seconds=60, between_bytes_seconds=60)
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


@dataclass(frozen=True)
class Measured:
    """The outcome of a call."""

    outcome: str
    """The error's type, or the class of the answer's failure; `whole` for an answer without one."""
    detail: str
    growth_bytes: int
    read_bytes: int


async def call(client: UpstreamClient, url: str, *, stream: bool) -> tuple[str, str, int]:
    """One call through the adapter of any OpenAI-compatible endpoint, its deltas dropped as they come."""
    adapter = adapter_for("custom")
    run = AttemptRun(
        request_id="req_bomb",
        tenant="acme",
        model="m",
        model_asked="m",
        stream=stream,
        deadline_ms=60_000,
        start_by_unix_ms=0,
        attempt_id="att_bomb",
        attempt_number=1,
        decision_id="dec_bomb",
        provider="custom",
        base_url=url,
        key_source=KeySource.NONE,
    )
    request = adapter.request(run, BODY)
    read_bytes = 0
    try:
        async with client.stream("POST", request.url, request.headers, request.content, TIMEOUTS) as response:
            reader = adapter.reader(run, request, response.status, response.headers)
            async for data in response.aiter_raw():
                read_bytes += len(data)
                reader.feed(data)
                if reader.over:
                    break
            failure = reader.close().failure
    except UpstreamError as error:
        return type(error).__name__, str(error), read_bytes
    return (failure.failure_class.value, failure.message, read_bytes) if failure else ("whole", "", read_bytes)


def undefend() -> ResponseLimits:
    """Remove the limits that this test is about."""
    inflate.MAX_RATIO = 10**9
    documents.MAX_PARTS = 10**9
    return ResponseLimits(json_bytes=2**40, stream_bytes=2**40)


async def measure(url: str, *, stream: bool, limits: ResponseLimits) -> Measured:
    """The call at `url`, after a small one at `url` + `/warm`."""
    client = UpstreamClient((ip_network("127.0.0.0/8"),), limits=limits)
    try:
        await call(client, f"{url}/warm", stream=stream)
        before_kibibytes = _kibibytes("VmRSS")
        outcome, detail, read_bytes = await call(client, url, stream=stream)
        return Measured(outcome, detail, 1024 * (_kibibytes("VmHWM") - before_kibibytes), read_bytes)
    finally:
        await client.close()


def _kibibytes(name: str) -> int:
    """A line of this process's memory accounts. Not `ru_maxrss`, which begins with the parent's own peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Fork a child for each line."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _measure(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            print(json.dumps({"failed": os.waitstatus_to_exitcode(status)}), flush=True)


def _measure(arguments: list[str]) -> None:
    """Measure and print; an exception ends the child."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--undefended", action="store_true")
    options = parser.parse_args(arguments)
    limits = undefend() if options.undefended else ResponseLimits()
    try:
        found = asyncio.run(measure(options.url, stream=options.stream, limits=limits))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
