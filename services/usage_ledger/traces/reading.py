"""Reads the spans of one trace from the stream TRACES by direct get. No consumer is created."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nats.aio.client import Client

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.traces import SPANS_RECORDED, TRACES, SpanBatch, SpanRecord
from keyferry.runtime.bus.direct_get import read_page

_log = logging.getLogger(__name__)

MAX_READ_BYTES = 6 * 1024**2
"""Of one trace. Callers choose trace ids: one of them may have every request of a day."""
_PAGE = 100
_PAGE_BYTES = 1024**2


@dataclass(slots=True)
class TraceMessages:
    """What the stream has of a trace."""

    spans: list[SpanRecord] = field(default_factory=list)
    unread: int = 0
    """Messages that were not read, because they are too many or cannot be decoded."""


async def read_trace(client: Client, trace_id: str, stored_after: datetime | None) -> TraceMessages:
    """Return the spans of a trace that were stored after a time, at most MAX_READ_BYTES. Raises StreamUnreadable."""
    found = TraceMessages()
    size, undecoded = 0, 0
    query: dict[str, Any] = {"next_by_subj": SPANS_RECORDED.pattern(trace=trace_id)}
    position: dict[str, Any] = {"seq": 1} if stored_after is None else {"start_time": stored_after.isoformat()}
    while True:
        page = await read_page(client, TRACES.name, query | position | {"batch": _PAGE, "max_bytes": _PAGE_BYTES})
        for message in page.messages:
            size += len(message.data)
            try:
                found.spans += [span for span in SpanBatch.decode(message.data).spans if span.trace_id == trace_id]
            except MalformedMessage as error:
                undecoded += 1
                _log.warning("a message of the stream %s cannot be read: %s", TRACES.name, error)
            await asyncio.sleep(0)  # other requests of this process go on between two messages
        if not page.messages or page.pending == 0 or size >= MAX_READ_BYTES:
            found.unread = undecoded + (page.pending if page.messages else 0)
            return found
        position = {"seq": page.messages[-1].seq + 1}


async def read_kept_since(client: Client) -> datetime | None:
    """Return since when the stream has every message; None if it has dropped none. Raises StreamUnreadable."""
    query = {"seq": 1, "next_by_subj": SPANS_RECORDED.pattern(), "batch": 1}
    page = await read_page(client, TRACES.name, query)
    # Messages have numbers from 1: where the first one is there, no older one has made way.
    return page.messages[0].stored_at if page.messages and page.messages[0].seq > 1 else None
