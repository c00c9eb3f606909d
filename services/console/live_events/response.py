"""The HTTP response of a stream of events: sent line by line, ended at once when its client is gone."""

import asyncio
import logging
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send

from keyferry.runtime.concurrency import cancel_and_wait
from services.console.live_events.stream import EventStream

_log = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
_SLOW_SECONDS = 5.0
"""In which a reader that is too slow may take what was sent before."""
_POLL_SECONDS = 0.5


class EventStreamResponse(Response):
    """Sends a stream. Nothing of it is compressed or kept by proxies."""

    media_type = EVENT_STREAM

    def __init__(self, stream: EventStream | None = None, **options: Any) -> None:
        super().__init__(headers={"x-accel-buffering": "no"}, **options)
        self._stream = stream
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends or its client is gone."""
        assert self._stream is not None
        sending = asyncio.create_task(self._send(self._stream, send), name="send live events")
        gone = asyncio.create_task(_until_gone(receive), name="wait for the end of a reader")
        slow = asyncio.create_task(_until_too_slow(self._stream), name="watch a reader")
        try:
            await asyncio.wait({sending, gone, slow}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stream.close()
            for task in (gone, slow, sending):
                if not task.done():
                    await cancel_and_wait(task)
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _send(self, stream: EventStream, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for line in stream.lines():
            await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_too_slow(stream: EventStream) -> None:
    """Return a while after a reader has fallen too far behind: by then it has its `reset`, or takes nothing at all."""
    while not stream.overflowed:  # noqa: ASYNC110 - a full queue is rare, and nobody waits for this
        await asyncio.sleep(_POLL_SECONDS)
    await asyncio.sleep(_SLOW_SECONDS)
