"""Reads the spans of one trace from the stream TRACES by direct get. No consumer is created."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.traces import SPANS_RECORDED, TRACES, SpanBatch, SpanRecord

_log = logging.getLogger(__name__)

MAX_READ_BYTES = 6 * 1024**2
"""Of one trace. Callers choose trace ids: one of them may have every request of a day."""
_TIMEOUT_SECONDS = 5.0
_PAGE = 100
_PAGE_BYTES = 1024**2
_END, _NOTHING = "204", "404"


class TracesUnavailable(Exception):
    """The stream cannot be read now."""


@dataclass(slots=True)
class TraceMessages:
    """What the stream has of a trace."""

    spans: list[SpanRecord] = field(default_factory=list)
    unread: int = 0
    """Messages that were not read, because they are too many or cannot be decoded."""


@dataclass(slots=True)
class _Page:
    messages: list[tuple[int, datetime, bytes]] = field(default_factory=list)
    """Number, time and data."""
    pending: int = 0
    """How many more messages there are."""


async def read_trace(client: Client, trace_id: str, stored_after: datetime | None) -> TraceMessages:
    """Return the spans of a trace that were stored after a time, at most MAX_READ_BYTES. Raises TracesUnavailable."""
    found = TraceMessages()
    size, undecoded = 0, 0
    query: dict[str, Any] = {"next_by_subj": SPANS_RECORDED.pattern(trace=trace_id)}
    position: dict[str, Any] = {"seq": 1} if stored_after is None else {"start_time": stored_after.isoformat()}
    while True:
        page = await _read_page(client, query | position | {"batch": _PAGE, "max_bytes": _PAGE_BYTES})
        for _, _, data in page.messages:
            size += len(data)
            try:
                found.spans += [span for span in SpanBatch.decode(data).spans if span.trace_id == trace_id]
            except MalformedMessage as error:
                undecoded += 1
                _log.warning("a message of the stream %s cannot be read: %s", TRACES.name, error)
            await asyncio.sleep(0)  # other requests of this process go on between two messages
        if not page.messages or page.pending == 0 or size >= MAX_READ_BYTES:
            found.unread = undecoded + (page.pending if page.messages else 0)
            return found
        position = {"seq": page.messages[-1][0] + 1}


async def read_kept_since(client: Client) -> datetime | None:
    """Return since when the stream has every message; None if it has dropped none. Raises TracesUnavailable."""
    query = {"seq": 1, "next_by_subj": SPANS_RECORDED.pattern(), "batch": 1}
    page = await _read_page(client, query)
    # Messages have numbers from 1: where the first one is there, no older one has made way.
    return page.messages[0][1] if page.messages and page.messages[0][0] > 1 else None


async def _read_page(client: Client, query: dict[str, Any]) -> _Page:
    page = _Page()
    inbox = client.new_inbox()
    subscription = None
    try:
        subscription = await client.subscribe(inbox)
        await client.publish(f"$JS.API.DIRECT.GET.{TRACES.name}", orjson.dumps(query), reply=inbox)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while True:
                message = await subscription.next_msg(timeout=_TIMEOUT_SECONDS)
                headers = message.headers or {}
                status = headers.get("Status")
                if status == _END:
                    page.pending = int(headers.get("Nats-Num-Pending", "0"))
                    return page
                if status == _NOTHING:
                    return page
                if status is not None:
                    raise TracesUnavailable(f"the server answers {status}")
                stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
                page.messages.append((int(headers["Nats-Sequence"]), stored_at, message.data))
    except (NatsError, OSError, TimeoutError, KeyError, ValueError) as error:
        raise TracesUnavailable(type(error).__name__) from None
    finally:
        if subscription is not None:
            with suppress(NatsError):  # a closed or draining connection has dropped it already
                await subscription.unsubscribe()
