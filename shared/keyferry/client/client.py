"""The client itself: whole answers, streams, embeddings, models."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from keyferry.client import reading, request
from keyferry.client.answer import ChatAnswer, Embeddings, JsonObject, Route
from keyferry.client.exchange import Exchange, Sleep, Transport
from keyferry.client.stream import ChatStream
from keyferry.client.tracing import current_traceparent
from keyferry.contracts.route import Model

DEFAULT_TIMEOUT_SECONDS = 60.0
DEFAULT_MAX_RETRIES = 2

Messages = Sequence[Mapping[str, object]]

_Answer = TypeVar("_Answer")
_Answer_co = TypeVar("_Answer_co", covariant=True)


class Client:
    """Calls for one tenant. Made by `connect`; a context manager that gives up what is under way when it is left."""

    def __init__(
        self,
        transport: Transport,
        *,
        tenant: str,
        max_retries: int = DEFAULT_MAX_RETRIES,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.tenant = tenant
        self._transport = transport
        self._max_retries = max_retries
        self._sleep = sleep
        self._open: set[Exchange] = set()

    async def chat(
        self,
        *,
        model: str,
        messages: Messages,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        operation: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        **parameters: object,
    ) -> ChatAnswer:
        """A whole answer. `parameters` are those of OpenAI's chat completions: `temperature`, `tools`, …

        The deadline covers everything, automatic retries included; cancelling the task stops the provider's work. Without a
        `traceparent` the current OpenTelemetry span's is used. Raises KeyferryError.
        """
        exchange = self._exchange(
            model, messages, False, timeout_seconds, operation, tags, traceparent, parameters=parameters
        )
        return await self._ended(exchange, reading.answer_of)

    def stream(
        self,
        *,
        model: str,
        messages: Messages,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        operation: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        **parameters: object,
    ) -> ChatStream:
        """A streamed answer, sent when its `async with` block is entered; parameters as for `chat`. Raises BadRequest here,
        and any other KeyferryError from the block and its deltas.
        """
        exchange = self._exchange(
            model, messages, True, timeout_seconds, operation, tags, traceparent, parameters=parameters
        )
        return ChatStream(exchange, self._open.discard)

    async def embed(
        self,
        *,
        model: str,
        input: request.Input,  # noqa: A002 - OpenAI's name of the parameter
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        operation: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        **parameters: object,
    ) -> Embeddings:
        """The vectors of one text or several. `parameters` are those of OpenAI's embeddings: `dimensions`, `user`.

        Deadline, retries and traces are those of `chat`. Raises KeyferryError.
        """
        asked = request.asked_embeddings(
            model=model,
            given=input,
            timeout_seconds=timeout_seconds,
            operation=operation,
            tags=tags,
            traceparent=traceparent or current_traceparent(),
            parameters=parameters,
        )
        return await self._ended(self._opened(asked), reading.embeddings_of)

    async def models(self) -> list[Model]:
        """What the tenant can call now. Raises KeyferryError."""
        return (await self._transport.models(self.tenant)).models

    async def close(self) -> None:
        """Give up what is under way, and leave. Whoever waits for an answer gets Cancelled."""
        given_up, self._open = list(self._open), set()
        for exchange in given_up:
            exchange.abandon()
            await exchange.end()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _exchange(
        self,
        model: str,
        messages: Messages,
        stream: bool,
        timeout_seconds: float,
        operation: str | None,
        tags: Mapping[str, str] | None,
        traceparent: str | None,
        *,
        parameters: Mapping[str, object],
    ) -> Exchange:
        asked = request.asked(
            model=model,
            messages=messages,
            stream=stream,
            timeout_seconds=timeout_seconds,
            operation=operation,
            tags=tags,
            traceparent=traceparent or current_traceparent(),
            parameters=parameters,
        )
        return self._opened(asked)

    def _opened(self, asked: request.Asked) -> Exchange:
        exchange = Exchange(self._transport, self.tenant, asked, max_retries=self._max_retries, sleep=self._sleep)
        self._open.add(exchange)
        return exchange

    async def _ended(self, exchange: Exchange, read: "_Read[_Answer]") -> _Answer:
        try:
            return await _whole(exchange, read)
        finally:
            self._open.discard(exchange)
            await exchange.end()


class _Read(Protocol[_Answer_co]):
    """Reads a whole answer. Raises NotOpenAI."""

    def __call__(self, raw: JsonObject, *, request_id: str, route: Route) -> _Answer_co: ...


async def _whole(exchange: Exchange, read: _Read[_Answer]) -> _Answer:
    parts: list[bytes] = []
    while True:
        piece = await exchange.next_piece()
        parts.append(piece.payload)
        if piece.last:
            break
    route = exchange.route
    assert route is not None, "who answers has taken the request"
    try:
        return read(reading.whole(b"".join(parts)), request_id=exchange.request_id, route=route)
    except reading.NotOpenAI as error:
        raise exchange.broken(str(error)) from None
