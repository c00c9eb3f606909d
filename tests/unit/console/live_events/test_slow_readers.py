"""What a stream sends to readers that take their time, and how much of the log it keeps for them."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from nats.aio.client import Client

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.live_events import RequestsRecorded
from services.console.authentication import InvalidCredential, Principal
from services.console.live_events import event_log, hub, stream
from services.console.live_events.event_log import LogMessage
from services.console.live_events.feed import Feed
from services.console.live_events.hub import LiveEvents
from services.console.live_events.stream import EventStream
from services.console.live_events.topics import Audience, Topic
from tests.unit.console.live_events.test_streams import NOW, recorded

PRINCIPAL = Principal(AccessRole.OWNER, "acme", "ann")
SUBJECT = "kf.v1.request.recorded.acme"


class Log:
    """A bus whose log has as many messages as a test says."""

    def __init__(self) -> None:
        self.last = 0
        self.client = self

    def on_reconnect(self, _: object) -> None:
        return None

    async def request(self, *_: object, **__: object) -> SimpleNamespace:
        state = {"first_seq": 1, "last_seq": self.last}
        return SimpleNamespace(data=orjson.dumps({"created": "2026-11-30T14:00:00Z", "state": state}))


async def _nobody(_: object) -> Principal:
    raise InvalidCredential("the session has ended")


def _open(log: Log, last_event_id: str = "") -> tuple[LiveEvents, Feed, EventStream]:
    events = LiveEvents(cast(Any, log), _nobody)
    feed = events.attach(Audience("acme", AccessRole.OWNER, "ann", frozenset({Topic.REQUESTS})), "ses_1")
    return events, feed, EventStream(events, feed, PRINCIPAL, lambda: _nobody(None), last_event_id)


async def _next_event(lines: AsyncIterator[str]) -> str:
    """Return the name of the next event."""
    async with asyncio.timeout(5):
        text = await anext(lines)
    return text.partition("event: ")[2].partition("\n")[0]


async def test_a_reader_gets_nothing_that_waits_when_its_access_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    _, feed, opened = _open(Log())
    lines = opened.lines()
    assert [await _next_event(lines) for _ in range(2)] == ["", "ready"]
    for seq in (1, 2, 3):
        feed.offer(recorded(seq))
    assert await _next_event(lines) == "requests"
    monkeypatch.setattr(stream, "RECHECK_SECONDS", 0.0)  # as if the reader had taken longer than that
    assert await _next_event(lines) == "closing"


@pytest.mark.parametrize(("name", "bound"), [("stream", 1000), ("hub", 1000)])
async def test_a_log_that_is_too_long_is_a_reset_and_keeps_nothing(
    name: str, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stream, and of all streams together."""
    log = Log()
    log.last = 40
    data = RequestsRecorded(tenant="acme", skipped=1, at=NOW).encode()

    async def page(_: Client, subject: str, from_seq: int) -> tuple[list[LogMessage], bool]:
        assert subject == SUBJECT
        return [LogMessage(seq, SUBJECT, data) for seq in range(from_seq, 41)], True

    monkeypatch.setattr(event_log, "_page", page)
    monkeypatch.setattr({"stream": stream, "hub": hub}[name], "MAX_REPLAYED_BYTES", bound)
    state = await event_log.read_state(cast(Client, log))
    events, _, opened = _open(log, f"{state.incarnation}-1")
    lines = opened.lines()
    assert [await _next_event(lines) for _ in range(3)] == ["", "ready", "reset"]
    assert events.hold_replayed(bound)


async def test_what_a_stream_keeps_is_counted_until_it_is_sent_or_the_reader_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    log.last = 3
    data = RequestsRecorded(tenant="acme", skipped=1, at=NOW).encode()

    async def page(_: Client, __: str, from_seq: int) -> tuple[list[LogMessage], bool]:
        return [LogMessage(seq, SUBJECT, data) for seq in range(from_seq, 4)], True

    monkeypatch.setattr(event_log, "_page", page)
    monkeypatch.setattr(hub, "MAX_REPLAYED_BYTES", 2 * len(data))
    state = await event_log.read_state(cast(Client, log))
    events, _, opened = _open(log, f"{state.incarnation}-1")
    lines = opened.lines()
    assert [await _next_event(lines) for _ in range(3)] == ["", "ready", "requests"]
    assert not events.hold_replayed(1)
    opened.close()
    assert events.hold_replayed(2 * len(data))
