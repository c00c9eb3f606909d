"""Whether somebody who looks at a million attempts slows requests: their latency with the usage view opened again and again.

Requests come at a fixed mean rate to the whole embedded system; the view is what a page of usage asks of the management API.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy.ext.asyncio import create_async_engine

from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.ledger.figure_names import USAGE_VIEW
from tests.bench.ledger.summaries import fill
from tests.bench.overload.offered_load import RequestStream, StreamLoad, offer, one_after_the_other, rank_ms
from tests.bench.system import Target
from tests.bench.unlimited_tiers import write_unlimited_tiers
from tests.support.system.keyferry_system import KeyferrySystem, running_system

_TENANT = "demo"
_ATTEMPTS, _QUICK_ATTEMPTS = 1_000_000, 50_000
_DAYS = 30
_PER_SECOND = 100.0
_PAUSE_SECONDS = 1.0
_ORDER = ("alone", "viewed", "viewed", "alone") * 2
_VIEW = (
    "usage/summary?period=30d&tz=Europe/Berlin",
    "usage/series?period=30d&tz=Europe/Berlin&by=model",
    "usage/breakdown?period=30d&tz=Europe/Berlin&by=team",
    "usage/top-models?period=30d",
    "usage/errors?period=30d",
    "usage/savings?period=30d",
    "usage/forecast",
    "requests?limit=50",
)
_TIMEOUT_SECONDS = 30.0


def measure(directory: Path, seconds: int, *, quick: bool) -> list[Figure]:
    """Return the 99th percentile of latency while the view is opened every second, divided by that without; four runs of each.

    Raises:
        BenchError: a request failed, or the view.
    """
    with running_system(directory / "home", {"KEYFERRY_TIER_FILE": str(write_unlimited_tiers(directory))}) as system:
        asyncio.run(_fill(system.home, _QUICK_ATTEMPTS if quick else _ATTEMPTS))
        stream = RequestStream("requests", Target(f"{system.http_url}/v1", "echo", system.token), _PER_SECOND)
        offer([stream], 2)
        loads: dict[str, list[StreamLoad]] = {"alone": [], "viewed": []}
        for name in _ORDER:
            if name == "alone":
                loads[name].append(_answered(offer([stream], seconds)["requests"]))
                continue
            with _opened(system) as rounds:
                loads[name].append(_answered(offer([stream], seconds)["requests"]))
            if not rounds:
                raise BenchError("The usage view was not answered once.")
    p99_ms = {name: rank_ms(one_after_the_other(parts).exchanges, 99) for name, parts in loads.items()}
    return [Figure(USAGE_VIEW, p99_ms["viewed"] / p99_ms["alone"])]


async def _fill(home: Path, attempts: int) -> None:
    engine = create_async_engine((home / "secrets" / "database" / "usage_ledger.url").read_text().strip())
    try:
        yesterday = datetime.now(UTC) - timedelta(days=1)  # the system itself has recorded something today
        await fill(engine, attempts, _DAYS, tenant=_TENANT, now=yesterday, keep_attempts=True)
    finally:
        await engine.dispose()


def _answered(load: StreamLoad) -> StreamLoad:
    if len(load.answered) < len(load.exchanges):
        other = next(one for one in load.exchanges if one.status != 200)
        raise BenchError(f"A request was not answered: {other.status} {other.body!r}")
    return load


@contextmanager
def _opened(system: KeyferrySystem) -> Iterator[list[float]]:
    """Open the view every second for the length of the block. Yield the seconds that each round took, in a list that grows.

    Raises:
        BenchError: something was not answered.
    """
    rounds: list[float] = []
    failures: list[str] = []
    ended = threading.Event()
    token = (system.home / "secrets" / "operator-token").read_text().strip()
    base_url = f"{system.state['console_url']}/api/v1/ops/tenants/{_TENANT}/"

    def look() -> None:
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=base_url, headers=headers, timeout=_TIMEOUT_SECONDS) as client:
            while not ended.wait(_PAUSE_SECONDS if rounds else 0):
                began = time.monotonic()
                answers = [client.get(part) for part in _VIEW]
                failures.extend(f"{one.url}: {one.text[:200]}" for one in answers if one.status_code != 200)
                rounds.append(time.monotonic() - began)

    viewer = threading.Thread(target=look)
    viewer.start()
    try:
        yield rounds
    finally:
        ended.set()
        viewer.join()
    if failures:
        raise BenchError(failures[0])
