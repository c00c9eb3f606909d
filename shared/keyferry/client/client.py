"""The client itself: whole answers, streams, embeddings, models."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from keyferry.client import parsing as reading
from keyferry.client import prepared_request as request
from keyferry.client.results import ChatAnswer, Embeddings, JsonObject, Route
from keyferry.client.retrying_call import ClientTransport, RetryingCall, Sleep
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
        transport: ClientTransport,
        *,
        tenant: str,
        max_retries: int = DEFAULT_MAX_RETRIES,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.tenant = tenant
        self._transport = transport
        self._max_retries = max_retries
        self._sleep = sleep
        self._open: set[RetryingCall] = set()

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
        call = self._call(model, messages, False, timeout_seconds, operation, tags, traceparent, parameters=parameters)
        return await self._ended(call, reading.parse_answer)

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
        call = self._call(model, messages, True, timeout_seconds, operation, tags, traceparent, parameters=parameters)
        return ChatStream(call, self._open.discard)

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
        asked = request.prepare_embeddings(
            model=model,
            given=input,
            timeout_seconds=timeout_seconds,
            operation=operation,
            tags=tags,
            traceparent=traceparent or current_traceparent(),
            parameters=parameters,
        )
        return await self._ended(self._opened(asked), reading.parse_embeddings)

    async def models(self) -> list[Model]:
        """What the tenant can call now. Raises KeyferryError."""
        return (await self._transport.models(self.tenant)).models

    async def close(self) -> None:
        """Give up what is under way, and leave. Whoever waits for an answer gets Cancelled."""
        given_up, self._open = list(self._open), set()
        for call in given_up:
            call.abandon()
            await call.end()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _call(
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
    ) -> RetryingCall:
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

    def _opened(self, asked: request.Asked) -> RetryingCall:
        call = RetryingCall(self._transport, self.tenant, asked, max_retries=self._max_retries, sleep=self._sleep)
        self._open.add(call)
        return call

    async def _ended(self, call: RetryingCall, read: "_Read[_Answer]") -> _Answer:
        try:
            return await _whole(call, read)
        finally:
            self._open.discard(call)
            await call.end()


class _Read(Protocol[_Answer_co]):
    """Reads a whole answer. Raises NotOpenAI."""

    def __call__(self, raw: JsonObject, *, request_id: str, route: Route) -> _Answer_co: ...


async def _whole(call: RetryingCall, read: _Read[_Answer]) -> _Answer:
    parts: list[bytes] = []
    while True:
        piece = await call.next_piece()
        parts.append(piece.payload)
        if piece.last:
            break
    route = call.route
    assert route is not None, "who answers has taken the request"
    try:
        return read(reading.parse_object(b"".join(parts)), request_id=call.request_id, route=route)
    except reading.MalformedAnswer as error:
        raise call.broken(str(error)) from None
