"""A streamed answer, delta by delta."""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from keyferry.client.parsing import MalformedAnswer, StreamAssembly, parse_answer
from keyferry.client.results import ChatAnswer, Delta, Route
from keyferry.client.retrying_call import RetryingCall
from keyferry.runtime.request.calls import Piece


class ChatStream:
    """`async with` it, then `async for` its deltas. Leaving the block early stops the provider's work."""

    def __init__(self, call: RetryingCall, leave: Callable[[RetryingCall], None]) -> None:
        self._call = call
        self._leave = leave
        self._assembly = StreamAssembly()
        self._ready: deque[Delta] = deque()
        self._answer: ChatAnswer | None = None
        self._left = False

    @property
    def answer(self) -> ChatAnswer:
        """The whole answer, after the last delta. Raises RuntimeError before."""
        if self._answer is None or self._ready:
            raise RuntimeError("the stream is not over: read all of its deltas first")
        return self._answer

    @property
    def request_id(self) -> str:
        """For `keyferry explain`."""
        return self._call.request_id

    @property
    def route(self) -> Route | None:
        """Which way the request goes, once a worker has taken it; final with the first delta."""
        return self._call.route

    async def __aenter__(self) -> Self:
        try:
            await self._call.begin()
        except BaseException:
            # The block is not entered, so nothing else would tell the worker.
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
        if self._left:
            raise RuntimeError("the stream is closed: read it inside its `async with` block")
        while not self._ready:
            if self._answer is not None:
                raise StopAsyncIteration
            self._take(await self._call.next_piece())
        return self._ready.popleft()

    def _take(self, piece: Piece) -> None:
        try:
            for chunk in filter(None, piece.payload.split(b"\n")):
                self._ready.extend(self._assembly.take(chunk))
            if piece.last:
                route = self._call.route
                assert route is not None, "who answers has taken the request"
                raw = self._assembly.completion()
                self._answer = parse_answer(raw, request_id=self._call.request_id, route=route)
        except MalformedAnswer as error:
            raise self._call.broken(str(error)) from None

    async def _end(self) -> None:
        self._left = True
        self._leave(self._call)
        await self._call.end()
