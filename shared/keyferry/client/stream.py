"""A streamed answer, delta by delta."""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from keyferry.client.answer import ChatAnswer, Delta, Route
from keyferry.client.exchange import Exchange
from keyferry.client.reading import NotOpenAI, StreamAssembly, answer_of
from keyferry.runtime.request.calls import Piece


class ChatStream:
    """`async with` it, then `async for` its deltas. Leaving the block early stops the provider's work."""

    def __init__(self, exchange: Exchange, leave: Callable[[Exchange], None]) -> None:
        self._exchange = exchange
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
        return self._exchange.request_id

    @property
    def route(self) -> Route | None:
        """Which way the request goes, once a worker has taken it; final with the first delta."""
        return self._exchange.route

    async def __aenter__(self) -> Self:
        try:
            await self._exchange.begin()
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
            self._take(await self._exchange.next_piece())
        return self._ready.popleft()

    def _take(self, piece: Piece) -> None:
        try:
            for chunk in filter(None, piece.payload.split(b"\n")):
                self._ready.extend(self._assembly.take(chunk))
            if piece.last:
                route = self._exchange.route
                assert route is not None, "who answers has taken the request"
                raw = self._assembly.completion()
                self._answer = answer_of(raw, request_id=self._exchange.request_id, route=route)
        except NotOpenAI as error:
            raise self._exchange.broken(str(error)) from None

    async def _end(self) -> None:
        self._left = True
        self._leave(self._exchange)
        await self._exchange.end()
