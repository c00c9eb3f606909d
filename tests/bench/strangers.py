"""Costs of strangers: bad client tokens, and connections that never finish a request.

`python -m tests.bench.strangers` prints them, with the shares of processor time that have no place among the timings.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from keyferry.contracts import client_token
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken, Tenant, Tier
from services.ingress.identity import Unauthenticated, identify
from tests.bench.keys.timing import Timing, timing
from tests.support.system.keyferry_system import KeyferrySystem, running_system

GOOD = "good token, authentication"
WRONG_CHECKSUM = "bad token with a wrong checksum, authentication"
UNKNOWN = "bad token with a right checksum, authentication"
ALONE = "good request, alone"
AMONG_BAD = "good request, among bad ones"
AMONG_SLOW = "good request, among slow connections"
CLOSED = "slow connection, opening to close"
_SAMPLES = 20_000
_REQUESTS = 400
_FLOOD_CONNECTIONS = 16
_SLOW_CONNECTIONS = 2000
_LONGEST_SECONDS = 60.0
_CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
_NOW = datetime(2026, 11, 30, tzinfo=UTC)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PEPPER = Secret("a-pepper-of-forty-characters-for-a-bench")


def measure_authentication() -> list[Timing]:
    """Time the authentication of good and bad tokens, in this process."""
    good = client_token.mint().reveal()
    entry = ClientToken(token_id="tok_1", tenant="acme", label="bench", last4=good[-4:], created_at=_NOW)
    tokens = {client_token.fingerprint(client_token.digest(good), _PEPPER): entry}
    tenants = {"acme": Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)}

    def authenticate(header: str) -> None:
        with suppress(Unauthenticated):
            identify(header, tokens=tokens.get, tenants=tenants.get, pepper=_PEPPER, now=_NOW)

    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    unknown = client_token.mint().reveal()
    return [
        _time_calls(name, partial(authenticate, f"Bearer {token}"))
        for name, token in ((GOOD, good), (WRONG_CHECKSUM, wrong), (UNKNOWN, unknown))
    ]


def _time_calls(name: str, call: Callable[[], None]) -> Timing:
    durations_ns, began = list[int](), time.monotonic()
    for _ in range(_SAMPLES):
        start = time.perf_counter_ns()
        call()
        durations_ns.append(time.perf_counter_ns() - start)
    return timing(name, durations_ns, time.monotonic() - began)


class Strangers:
    """Loads on the ingress of a running system. `notes` are figures that are no timings."""

    def __init__(self, system: KeyferrySystem) -> None:
        self._system = system
        self._pid = next(pid for name, pid in system.state["processes"].items() if str(name).startswith("ingress"))
        self._address = (str(urlsplit(system.http_url).hostname), int(urlsplit(system.http_url).port or 80))
        self._good_cpu_seconds = 0.0
        self._alone_cpu_seconds = 0.0
        self.notes: list[str] = []

    async def measure(self) -> list[Timing]:
        """Time good requests alone, among bad ones, and among slow connections."""
        await self._good(ALONE)  # to warm up
        alone = await self._good(ALONE)
        self._alone_cpu_seconds = self._good_cpu_seconds
        return [alone, await self._among_bad(), *await self._among_slow()]

    async def _good(self, name: str) -> Timing:
        durations_ns, began, cpu = list[int](), time.monotonic(), self._cpu_seconds()
        headers = {"authorization": f"Bearer {self._system.token}"}
        async with httpx.AsyncClient(
            base_url=self._system.http_url, timeout=_LONGEST_SECONDS, headers=headers
        ) as client:
            for _ in range(_REQUESTS):
                start = time.perf_counter_ns()
                (await client.post("/v1/chat/completions", json=_CHAT)).raise_for_status()
                durations_ns.append(time.perf_counter_ns() - start)
        self._good_cpu_seconds = self._cpu_seconds() - cpu
        return timing(name, durations_ns, time.monotonic() - began)

    async def _among_bad(self) -> Timing:
        sent = [0]
        cpu, began = self._cpu_seconds(), time.monotonic()
        floods = [asyncio.create_task(self._flood(sent)) for _ in range(_FLOOD_CONNECTIONS)]
        await asyncio.sleep(5)
        per_request_us = (self._cpu_seconds() - cpu) / sent[0] * 1e6
        self.notes.append(f"bad token over HTTP: {per_request_us:.0f} µs of the ingress's CPU each, alone")
        sent[0], began = 0, time.monotonic()
        found = await self._good(AMONG_BAD)
        self.notes.append(f"{sent[0] / (time.monotonic() - began):.0f} bad tokens a second beside good requests")
        for flood in floods:
            flood.cancel()
        return found

    async def _flood(self, sent: list[int]) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        while True:
            token = client_token.mint().reveal()
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % token.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            sent[0] += 1

    async def _among_slow(self) -> list[Timing]:
        durations_ns, began, cpu = list[int](), time.monotonic(), self._cpu_seconds()
        slow = [asyncio.create_task(self._drip(durations_ns)) for _ in range(_SLOW_CONNECTIONS)]
        good = await self._good(AMONG_SLOW)
        await asyncio.gather(*slow)
        elapsed = time.monotonic() - began
        added = (self._cpu_seconds() - cpu - self._alone_cpu_seconds) / elapsed
        self.notes.append(
            f"{_SLOW_CONNECTIONS} slow connections for {elapsed:.1f} s: they added {added:.1%} of a core to the ingress"
        )
        return [good, timing(CLOSED, durations_ns, elapsed)]

    async def _drip(self, durations_ns: list[int]) -> None:
        """Send a byte a second of a head that never ends, until the server closes the connection."""
        start = time.perf_counter_ns()
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(b"GET /v1/models HTTP/1.1\r\n")
        closed = asyncio.create_task(reader.read())
        while not closed.done():
            with suppress(ConnectionError):
                writer.write(b"x")
                await writer.drain()
            await asyncio.wait({closed}, timeout=1)
        durations_ns.append(time.perf_counter_ns() - start)
        writer.close()

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def measure(directory: Path) -> list[Timing]:
    """Measure everything; what is no timing is printed."""
    found = measure_authentication()
    with running_system(directory / "home") as system:
        strangers = Strangers(system)
        found += asyncio.run(strangers.measure())
    print("\n".join(strangers.notes), file=sys.stderr)
    return found


def main() -> int:
    """Measure everything and print it."""
    with tempfile.TemporaryDirectory(prefix="keyferry-bench-") as directory:
        Path(directory).chmod(0o711)
        found = measure(Path(directory))
    for one in found:
        print(
            f"{one.name:50} p50 {one.p50_us:10.1f} µs  p90 {one.p90_us:10.1f}  p99 {one.p99_us:10.1f}  n {one.samples}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
