"""The live events of one process: one subscription, which is passed on to every stream that is open here.

Messages come with their numbers in the log LIVE. A gap, or a connection that was lost, makes every stream read the log from where
it was, as it does when a browser connects again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.live_events import LIVE
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.http.asgi import Scope
from keyferry.runtime.http.problem import HttpProblem
from services.console.authentication import Principal
from services.console.live_events.bodies import ClosingReason
from services.console.live_events.changes import LiveChange, decode_change
from services.console.live_events.feed import Feed
from services.console.live_events.topics import Audience

_log = logging.getLogger(__name__)

MAX_STREAMS = 2000
MAX_STREAMS_OF_TENANT = 200
MAX_STREAMS_OF_SESSION = 12
MAX_REPLAYED_BYTES = 24 * 1024 * 1024
"""Of what all streams together have read from the log and not sent yet; decoded it takes several times that."""
_DRAIN_SECONDS = 3.0
_DRAIN_POLL_SECONDS = 0.02

Recheck = Callable[[Scope], Awaitable[Principal]]
"""Returns who a request is from now. Raises InvalidCredential, and HttpProblem while that is not known."""


class LiveEvents:
    """The open streams of one process."""

    def __init__(self, bus: Bus, recheck: Recheck) -> None:
        self._bus = bus
        self.recheck = recheck
        self._feeds: set[Feed] = set()
        self._sessions: Counter[str] = Counter()
        self._tenants: Counter[str | None] = Counter()
        self.last_seq = 0
        """The number of the last message that was passed on."""
        self._draining = False
        self._replayed_bytes = 0
        bus.on_reconnect(self._fall_behind)

    @property
    def client(self) -> Client:
        """The connection to the bus."""
        return self._bus.client

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._feeds)

    async def start(self) -> None:
        """Subscribe."""
        await self._bus.client.subscribe(f"{LIVE.republished_to}>", cb=self._on_message)

    async def drain(self) -> None:
        """End every stream, and wait a moment until their readers know."""
        self._draining = True
        for feed in list(self._feeds):
            feed.close(ClosingReason.DRAINING)
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._feeds:  # noqa: ASYNC110 - once, when the process stops
                    await asyncio.sleep(_DRAIN_POLL_SECONDS)

    def attach(self, audience: Audience, session: str) -> Feed:
        """Return the feed of a new stream. Raises HttpProblem 503 while draining, and 429 for one too many."""
        if self._draining:
            message = "this console is about to stop: connect again"
            raise HttpProblem(503, "overloaded_error", "unavailable", message, headers={"retry-after": "2"})
        if self._sessions[session] >= MAX_STREAMS_OF_SESSION:
            raise _too_many(f"your session has {MAX_STREAMS_OF_SESSION} streams of events open: close one")
        if self._tenants[audience.tenant] >= MAX_STREAMS_OF_TENANT:
            raise _too_many(f"there are {MAX_STREAMS_OF_TENANT} streams of this tenant's events open: try again later")
        if len(self._feeds) >= MAX_STREAMS:
            raise _too_many("this console has as many streams of events open as it allows: try again later")
        feed = Feed(audience, session)
        self._feeds.add(feed)
        self._sessions[session] += 1
        self._tenants[audience.tenant] += 1
        return feed

    def detach(self, feed: Feed) -> None:
        """Forget a stream that has ended."""
        if feed not in self._feeds:
            return
        self._feeds.discard(feed)
        self._sessions -= Counter([feed.session])  # which keeps no zeros
        self._tenants -= Counter([feed.audience.tenant])

    def hold_replayed(self, size: int) -> bool:
        """Return whether a stream may keep so many bytes of the log until its reader has taken them."""
        if self._replayed_bytes + size > MAX_REPLAYED_BYTES:
            return False
        self._replayed_bytes += size
        return True

    def release_replayed(self, size: int) -> None:
        """Note that a stream does not keep them any more."""
        self._replayed_bytes -= size

    def _fall_behind(self) -> None:
        for feed in self._feeds:
            feed.fall_behind()

    async def _on_message(self, message: Msg) -> None:
        seq = int((message.headers or {}).get("Nats-Sequence", "0"))
        if seq != self.last_seq + 1 and self.last_seq:
            self._fall_behind()
        if self._feeds:
            change = read_change(seq, message.subject.removeprefix(LIVE.republished_to or ""), message.data)
            if change is not None:
                _pass_on(change, self._feeds)
        self.last_seq = seq


def read_change(seq: int, subject: str, data: bytes) -> LiveChange | None:
    """Return what a message says; None if it says nothing, or cannot be read."""
    try:
        return decode_change(seq, subject, data)
    except MalformedMessage as error:
        _log.error("a live event is malformed", extra={"subject": subject, "why": error.reason})
        return None


def _pass_on(change: LiveChange, feeds: Collection[Feed]) -> None:
    for feed in feeds:
        try:
            feed.offer(change)
        except Exception:  # an event that cannot be shown to one reader must not keep it from the others
            _log.exception("a live event could not be passed on")
            feed.fall_behind()


def _too_many(message: str) -> HttpProblem:
    return HttpProblem(429, "rate_limit_error", "too_many_streams", message, headers={"retry-after": "30"})
