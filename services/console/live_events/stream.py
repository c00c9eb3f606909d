"""One stream of events, from its first line to its end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from pydantic import BaseModel

from keyferry.contracts.live_events import RequestsRecorded
from keyferry.runtime.http.problem import HttpProblem
from services.console.authentication import InvalidCredential, Principal
from services.console.live_events.bodies import ClosingEvent, ClosingReason, ReadyEvent, ResetEvent, ResetReason
from services.console.live_events.changes import LiveChange
from services.console.live_events.event_id import find_start, format_id
from services.console.live_events.event_log import LogState, LogUnavailable, read_after, read_state
from services.console.live_events.feed import Feed, QueuedChange
from services.console.live_events.hub import LiveEvents, read_change
from services.console.live_events.request_counts import RequestCounts
from services.console.live_events.topics import Topic

_log = logging.getLogger(__name__)

PING_SECONDS = 15.0
RECHECK_SECONDS = 2.0
_COUNTS_SECONDS = 1.0
_RETRY_SECONDS = 0.5
MAX_REPLAYED = 2000
"""Events that a stream goes on with at most: loading everything again is less."""
MAX_REPLAYED_BYTES = 2 * 1024 * 1024
"""Of these events: one has up to some hundred requests."""

Recheck = Callable[[], Awaitable[Principal]]


class EventStream:
    """Sends what its feed has. `recheck` returns who the reader is now."""

    def __init__(self, hub: LiveEvents, feed: Feed, principal: Principal, recheck: Recheck, last_event_id: str) -> None:
        self._hub = hub
        self._feed = feed
        self._principal = principal
        self._recheck = recheck
        self._last_event_id = last_event_id
        self._news = asyncio.Event()
        feed.on_news = self._news.set
        self._incarnation = ""
        self._seq = 0
        """The number up to which everything was sent."""
        self._counts = RequestCounts()
        self._counts_only = feed.audience.tenant is None
        self._checked_at = self._sent_at = time.monotonic()
        self._replayed_bytes = 0
        """What the hub counts for this stream."""

    @property
    def overflowed(self) -> bool:
        """Whether the reader is too slow."""
        return self._feed.overflowed

    def close(self) -> None:
        """Forget the stream."""
        self._hub.detach(self._feed)
        self._release_replayed()

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines of the stream until it ends."""
        yield "retry: 2000\n\n"
        state = await self._state()
        start = find_start(self._last_event_id, state.incarnation, state.first, state.last)
        self._incarnation, self._seq = state.incarnation, start.after
        audience = self._feed.audience
        topics = sorted(audience.topics)
        yield self._event(
            "ready", ReadyEvent(topics=topics, tenant=audience.tenant, role=audience.role, resumed=start.resumed)
        )
        if start.lost is not None:
            yield self._event("reset", ResetEvent(reason=start.lost))
        self._feed.behind = self._feed.behind or start.resumed
        while not self._feed.overflowed and self._feed.closing is None:
            async for line in self._next():
                yield line
            await self._check_credential()
        for line in self._flush_counts():
            yield line
        if self._feed.overflowed:
            yield self._event("reset", ResetEvent(reason=ResetReason.SLOW_READER))
        else:
            yield self._event("closing", ClosingEvent(reason=self._feed.closing or ClosingReason.DRAINING))

    async def _next(self) -> AsyncIterator[str]:
        """Yield what there is now, or wait for news."""
        self._news.clear()
        if self._feed.behind:
            async for line in self._catch_up():
                yield line
        # A slow reader gets nothing that happened after its access has ended.
        while self._feed and not self._feed.behind and not self._must_check(time.monotonic()):
            queued = self._feed.pop()
            for line in self._show(queued.change, queued.text):
                yield line
        now = time.monotonic()
        if self._counts and now - self._counts.since_seconds >= _COUNTS_SECONDS:
            for line in self._flush_counts():
                yield line
        if now - self._sent_at >= PING_SECONDS:
            yield self._ping()
        if not self._feed and not self._feed.behind:
            await self._wait(now)

    async def _wait(self, now: float) -> None:
        until = min(self._sent_at + PING_SECONDS, self._checked_at + RECHECK_SECONDS)
        if self._counts:
            until = min(until, self._counts.since_seconds + _COUNTS_SECONDS)
        try:
            async with asyncio.timeout(max(until - now, 0.01)):
                await self._news.wait()
        except TimeoutError:
            return

    async def _catch_up(self) -> AsyncIterator[str]:
        """Yield what the log has since the last event, or that something is lost."""
        self._feed.behind = False
        try:
            state = await read_state(self._hub.client)
            start = find_start(format_id(self._incarnation, self._seq), state.incarnation, state.first, state.last)
            replayed = None if start.lost is not None else await self._read(state.last)
        except LogUnavailable:
            self._feed.behind = True
            self._release_replayed()
            await asyncio.sleep(_RETRY_SECONDS)
            return
        if replayed is None:
            for line in self._flush_counts():
                yield line
            self._incarnation, self._seq = state.incarnation, state.last
            yield self._event("reset", ResetEvent(reason=start.lost or ResetReason.OVERLOAD))
            return
        for queued in replayed:
            for line in self._show(queued.change, queued.text):
                yield line
        self._release_replayed()
        self._advance(state.last)

    async def _read(self, up_to: int) -> list[QueuedChange] | None:
        """Return the audience's changes up to a number, in order; None if they are too many. Raises LogUnavailable."""
        found: list[QueuedChange] = []
        audience, after = self._feed.audience, max(self._seq, self._counts.seq)
        for subject in audience.subjects():
            messages = await read_after(
                self._hub.client, subject, after, up_to, MAX_REPLAYED, MAX_REPLAYED_BYTES - self._replayed_bytes
            )
            size = sum(len(message.data) for message in messages or ())
            if messages is None or not self._hub.hold_replayed(size):
                self._release_replayed()
                return None
            self._replayed_bytes += size
            for message in messages:
                change = read_change(message.seq, message.subject, message.data)
                if change is not None and change.is_for(audience):
                    found.append(QueuedChange(change, change.render(audience)))
                await asyncio.sleep(0)  # other streams go on meanwhile
        return sorted(found, key=lambda queued: queued.change.seq)

    def _release_replayed(self) -> None:
        self._hub.release_replayed(self._replayed_bytes)
        self._replayed_bytes = 0

    def _show(self, change: LiveChange, text: str) -> list[str]:
        """Return the event of a change, unless it was sent before."""
        if change.seq <= max(self._seq, self._counts.seq):
            return []
        if self._counts_only and change.topic is Topic.REQUESTS and isinstance(change.body, RequestsRecorded):
            self._counts.add(change.body, change.seq, time.monotonic())
            return []
        lines = self._flush_counts()
        self._seq = change.seq
        return [*lines, self._line(change.topic.value, text)]

    def _flush_counts(self) -> list[str]:
        if not self._counts:
            return []
        self._seq = max(self._seq, self._counts.seq)
        return [self._line(Topic.REQUESTS.value, self._counts.take().model_dump_json())]

    def _advance(self, seq: int) -> None:
        """Note that everything up to a number was sent, unless some counts are not."""
        if not self._counts:
            self._seq = max(self._seq, seq)

    def _event(self, name: str, data: BaseModel) -> str:
        return self._line(name, data.model_dump_json())

    def _line(self, name: str, text: str) -> str:
        self._sent_at = time.monotonic()
        return f"id: {format_id(self._incarnation, self._seq)}\nevent: {name}\ndata: {text}\n\n"

    def _ping(self) -> str:
        """Return a comment, and how far the stream is: an id without data is no event for a page, but is remembered."""
        if not self._feed and not self._feed.behind:
            self._advance(self._hub.last_seq)
        self._sent_at = time.monotonic()
        return f": ping\nid: {format_id(self._incarnation, self._seq)}\n\n"

    async def _state(self) -> LogState:
        while True:
            try:
                return await read_state(self._hub.client)
            except LogUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                await self._check_credential()

    def _must_check(self, now: float) -> bool:
        return now - self._checked_at >= RECHECK_SECONDS

    async def _check_credential(self) -> None:
        """End the stream if its reader may not read it any more."""
        now = time.monotonic()
        if not self._must_check(now):
            return
        self._checked_at = now
        try:
            principal = await self._recheck()
        except InvalidCredential:
            self._feed.close(ClosingReason.SESSION_ENDED)
        except HttpProblem:  # not known now: the views are being read again
            _log.info("the credential of a stream of events cannot be checked now")
        else:
            if access_of(principal) != access_of(self._principal):
                self._feed.close(ClosingReason.ACCESS_CHANGED)


def access_of(principal: Principal) -> tuple[object, ...]:
    """Return what decides what somebody may read."""
    return (
        principal.role,
        principal.tenant,
        principal.actor,
        principal.member,
        principal.operates,
        principal.no_tenant,
        principal.unknown_tenant,
        principal.suspended,
    )
