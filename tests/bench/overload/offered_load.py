"""An open loop of requests: they come at random moments at a fixed mean rate, however long the answers take."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import uvloop

from tests.bench import payload
from tests.bench.first_token import percentile
from tests.bench.system import Target

_SEED = 7


@dataclass(frozen=True)
class RequestStream:
    """Requests of one kind: to whom, and how many per second. `unanswered` ones are not waited for at the end."""

    name: str
    target: Target
    per_second: float
    unanswered: bool = False


@dataclass(frozen=True)
class Exchange:
    """One request: when it was sent, in seconds since the start of the load, how long it took, and its status, 0 for none.

    `body` is the start of what was answered in place of an answer.
    """

    sent_at: float
    seconds: float
    status: int
    body: bytes = b""


@dataclass
class StreamLoad:
    """What one stream of requests got in `seconds`."""

    name: str
    seconds: float
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def answered(self) -> list[Exchange]:
        """Those with status 200."""
        return [one for one in self.exchanges if one.status == 200]

    @property
    def refused(self) -> list[Exchange]:
        """Those with status 429 or 503."""
        return [one for one in self.exchanges if one.status in (429, 503)]

    @property
    def failed(self) -> int:
        """Number of all others."""
        return len(self.exchanges) - len(self.answered) - len(self.refused)


def together(loads: Sequence[StreamLoad], name: str) -> StreamLoad:
    """Return several streams of the same time as one."""
    return StreamLoad(name, loads[0].seconds, [one for load in loads for one in load.exchanges])


def one_after_the_other(loads: Sequence[StreamLoad]) -> StreamLoad:
    """Return the rounds of one stream as one."""
    exchanges = [one for load in loads for one in load.exchanges]
    return StreamLoad(loads[0].name, sum(load.seconds for load in loads), exchanges)


def rank_ms(exchanges: Sequence[Exchange], rank: int) -> float:
    """Return a percentile of durations in milliseconds."""
    return percentile([round(one.seconds * 1e6) for one in exchanges], rank) / 1000


def offer(streams: Sequence[RequestStream], seconds: float) -> dict[str, StreamLoad]:
    """Send all streams for so long. Return what each got, by name."""
    return uvloop.run(_offer(streams, seconds))


async def _offer(streams: Sequence[RequestStream], seconds: float) -> dict[str, StreamLoad]:
    loads = {stream.name: StreamLoad(stream.name, seconds) for stream in streams}
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        start = time.monotonic()
        sending = [_send(session, stream, loads[stream.name], start, number) for number, stream in enumerate(streams)]
        await asyncio.gather(*sending)
    return loads


async def _send(
    session: aiohttp.ClientSession, stream: RequestStream, load: StreamLoad, start: float, number: int
) -> None:
    chance = random.Random(_SEED + number)
    body = payload.request_body(stream.target.model, stream=False)
    headers = {"content-type": "application/json", "authorization": f"Bearer {stream.target.token}"}
    tasks: set[asyncio.Task[None]] = set()
    due = start + chance.expovariate(stream.per_second)
    while due < start + load.seconds:
        if (delay := due - time.monotonic()) > 0:
            await asyncio.sleep(delay)
        task = asyncio.create_task(_one(session, stream.target, headers, body, load, start))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += chance.expovariate(stream.per_second)
    if stream.unanswered:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _one(
    session: aiohttp.ClientSession,
    target: Target,
    headers: dict[str, str],
    body: bytes,
    load: StreamLoad,
    start: float,
) -> None:
    sent = time.monotonic()
    status, answer = 0, b""
    try:
        async with session.post(f"{target.base_url}/chat/completions", data=body, headers=headers) as response:
            answer = await response.read()
            status = response.status
    except aiohttp.ClientError:
        pass  # counted as failed
    load.exchanges.append(
        Exchange(sent - start, time.monotonic() - sent, status, b"" if status == 200 else answer[:200])
    )
