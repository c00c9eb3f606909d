"""A streamed answer, delta by delta."""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from keyferry.client.parsing import MalformedAnswer, StreamAssembly, parse_answer
from keyferry.client.results import ChatAnswer, Delta, Route
from keyferry.client.retrying_call import RetryingCall
from keyferry.runtime.request.assembly import Piece


class ChatStream:
    """Enter it with `async with`, then read its deltas with `async for`. Leaving early stops the provider's work."""

    def __init__(self, call: RetryingCall, on_end: Callable[[RetryingCall], None]) -> None:
        self._call = call
        self._on_end = on_end
        self._assembly = StreamAssembly()
        self._ready: deque[Delta] = deque()
        self._answer: ChatAnswer | None = None
        self._closed = False

    @property
    def answer(self) -> ChatAnswer:
        """The whole answer. Raises RuntimeError before the last delta has been read."""
        if self._answer is None or self._ready:
            raise RuntimeError("the stream has not ended: read all of its deltas first")
        return self._answer

    @property
    def request_id(self) -> str:
        """The id for `keyferry explain`."""
        return self._call.request_id

    @property
    def route(self) -> Route | None:
        """The route of the request, once a worker has accepted it; final with the first delta."""
        return self._call.route

    async def __aenter__(self) -> Self:
        try:
            await self._call.begin()
        except BaseException:
            # The block is not entered, so `__aexit__` will not notify the worker.
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        if self._closed:
            raise RuntimeError("the stream is closed: read it inside its `async with` block")
        while not self._ready:
            if self._answer is not None:
                raise StopAsyncIteration
            self._take(await self._call.next_piece())
        return self._ready.popleft()

    def _take(self, piece: Piece) -> None:
        try:
            for chunk in filter(None, piece.payload.split(b"\n")):
                self._ready.extend(self._assembly.add(chunk))
            if piece.last:
                route = self._call.route
                assert route is not None, "an answer comes from a worker that accepted the request"
                raw = self._assembly.completion()
                self._answer = parse_answer(raw, request_id=self._call.request_id, route=route)
        except MalformedAnswer as error:
            raise self._call.fail_malformed(str(error)) from None

    async def _end(self) -> None:
        self._closed = True
        self._on_end(self._call)
        await self._call.end()
