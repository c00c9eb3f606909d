"""Writes an attempt's answer to the caller's inbox as frames: the first delta at once, later ones in batches, within credit."""

import asyncio
from collections.abc import Awaitable, Callable

from keyferry.contracts import frames
from keyferry.contracts.failure import Failure
from keyferry.contracts.usage import Outcome

COALESCE_DELTAS = 4
COALESCE_SECONDS = 0.025
STALLED_SECONDS = 15.0
"""A caller that grants nothing for so long is gone or stuck; no process is frozen for that long by accident."""

Publish = Callable[[bytes], Awaitable[None]]


class CallerStalled(Exception):
    """The caller has stopped taking the answer."""


class FrameWriter:
    """The frames of one attempt, in order. `publish` sends bytes to the caller's inbox and raises when the bus is unavailable.

    The bus has no end-to-end back-pressure, so the caller grants credit in bytes: behind a slow caller the worker stops
    reading from the provider, instead of filling buffers in between.
    """

    def __init__(self, attempt_id: str, publish: Publish, credit_bytes: int) -> None:
        self._attempt_id = attempt_id
        self._publish = publish
        self._credit_bytes = credit_bytes
        self._granted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._pending: list[bytes] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        """Why accepted texts were not delivered; anything sent after them would hide the gap."""
        self.deltas = 0

    def grant(self, credit_bytes: int) -> None:
        """Add to the caller's credit: it has consumed so many bytes and may be sent as many again."""
        self._credit_bytes += credit_bytes
        self._granted.set()

    async def write_deltas(self, texts: list[bytes]) -> None:
        """Write chunk texts: at once when they are the first or enough, else within COALESCE_SECONDS.

        Returns only when the caller's credit allows more. Raises CallerStalled.
        """
        first = self.deltas == 0
        self.deltas += len(texts)
        self._pending += texts
        if first or len(self._pending) >= COALESCE_DELTAS:
            await self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._flush_soon)

    async def end(self, outcome: Outcome, failure: Failure | None = None, body: bytes = b"") -> None:
        """Write what is pending and the end frame. `body` is a whole answer that was not streamed.

        Raises CallerStalled. An answer with a gap is never ended as completed; any other outcome still reaches the caller,
        since the end frame needs no credit.
        """
        if self._broken is None:
            await self._flush()
        elif outcome is Outcome.COMPLETED:
            raise self._broken
        async with self._lock:
            while len(body) > frames.MAX_PAYLOAD_BYTES:
                await self._send(body[: frames.MAX_PAYLOAD_BYTES])
                body = body[frames.MAX_PAYLOAD_BYTES :]
            end = frames.End(
                attempt_id=self._attempt_id, outcome=outcome, count=self._count, failure=failure, payload=body
            )
            await self._publish(end.to_frame())

    def _flush_soon(self) -> None:
        self._timer = None
        task = asyncio.ensure_future(self._flush())
        self._flushes.add(task)
        task.add_done_callback(self._on_flushed)

    def _on_flushed(self, task: "asyncio.Task[None]") -> None:
        self._flushes.discard(task)
        if not task.cancelled():
            task.exception()  # the next delta or the end meets the same error and raises it

    async def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        async with self._lock:
            if self._broken is not None:
                raise self._broken
            texts, self._pending = self._pending, []
            try:
                await self._send_batches(texts)
            except BaseException as error:  # also when cancelled: the texts were accepted and not delivered
                self._broken = error
                raise

    async def _send_batches(self, texts: list[bytes]) -> None:
        batch: list[bytes] = []
        size = 0
        for text in texts:
            if batch and size + len(text) >= frames.MAX_PAYLOAD_BYTES:
                await self._send(b"\n".join(batch))
                batch, size = [], 0
            batch.append(text)
            size += len(text) + 1
        if batch:
            await self._send(b"\n".join(batch))

    async def _send(self, payload: bytes) -> None:
        if self._credit_bytes <= 0:
            await self._await_credit()
        self._credit_bytes -= len(payload)
        self._count += 1
        await self._publish(frames.data_frame(self._attempt_id, self._count, payload))

    async def _await_credit(self) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                while self._credit_bytes <= 0:
                    self._granted.clear()
                    await self._granted.wait()
        except TimeoutError:
            raise CallerStalled from None
