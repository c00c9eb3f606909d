"""The client: whole answers, streams, embeddings, models."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

from keyferry.client import parsing
from keyferry.client.prepared_request import (
    Input,
    PreparedRequest,
    RoutingOptions,
    prepare_chat,
    prepare_embeddings,
    prepare_feedback,
)
from keyferry.client.results import ChatAnswer, Embeddings, JsonObject, Route
from keyferry.client.retrying_call import ClientTransport, RetryingCall, Sleep
from keyferry.client.stream import ChatStream
from keyferry.client.tracing import current_traceparent
from keyferry.contracts.feedback import Feedback
from keyferry.contracts.route import Model

DEFAULT_TIMEOUT_SECONDS = 60.0
DEFAULT_MAX_RETRIES = 2

Messages = Sequence[Mapping[str, object]]

_Answer = TypeVar("_Answer")
_Answer_co = TypeVar("_Answer_co", covariant=True)


class Client:
    """Calls for one tenant. `connect` creates it; leaving the context gives up all calls in progress."""

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
        routing: RoutingOptions | None = None,
        **parameters: object,
    ) -> ChatAnswer:
        """Return a whole answer. `parameters` are those of OpenAI's chat completions, such as `temperature`.

        The timeout includes automatic retries, and cancelling the task stops the provider's work. The default `traceparent` is
        that of the current OpenTelemetry span. Raises KeyferryError.
        """
        call = self._chat_call(
            model, messages, False, timeout_seconds, operation, tags, traceparent, routing, parameters=parameters
        )
        return await self._complete(call, parsing.parse_answer)

    def stream(
        self,
        *,
        model: str,
        messages: Messages,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        operation: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        routing: RoutingOptions | None = None,
        **parameters: object,
    ) -> ChatStream:
        """Return a streamed answer; parameters as for `chat`. The request is sent when its `async with` block is entered.

        Raises BadRequest here, and any other KeyferryError from the block and its deltas.
        """
        call = self._chat_call(
            model, messages, True, timeout_seconds, operation, tags, traceparent, routing, parameters=parameters
        )
        return ChatStream(call, self._open.discard)

    async def embed(
        self,
        *,
        model: str,
        input: Input,  # noqa: A002 - OpenAI's name of the parameter
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        operation: str | None = None,
        tags: Mapping[str, str] | None = None,
        traceparent: str | None = None,
        routing: RoutingOptions | None = None,
        **parameters: object,
    ) -> Embeddings:
        """Return the vectors of one or several texts. `parameters` are those of OpenAI's embeddings: `dimensions`, `user`.

        Timeout, retries and traces are those of `chat`. Raises KeyferryError.
        """
        prepared = prepare_embeddings(
            model=model,
            input_=input,
            timeout_seconds=timeout_seconds,
            operation=operation,
            tags=tags,
            traceparent=traceparent or current_traceparent(),
            routing=routing,
            parameters=parameters,
        )
        return await self._complete(self._open_call(prepared), parsing.parse_embeddings)

    async def models(self) -> list[Model]:
        """Return the models that the tenant can call now. Raises KeyferryError."""
        return (await self._transport.models(self.tenant)).models

    async def rate(
        self,
        request_id: str,
        rating: int | Literal["up", "down"],
        *,
        rater: str = "client",
        operation: str | None = None,
        comment: str | None = None,
    ) -> Feedback:
        """Rate an answer by its `request_id`: 1 to 5, the best, or `up` (5) or `down` (1).

        The answer is recorded about a second after it is complete; before that, it cannot be rated. Of several ratings of one
        request by the same rater the last one counts. Raises BadRequest for what cannot be rated, and KeyferryError.
        """
        command = prepare_feedback(
            {
                "tenant": self.tenant,
                "request_id": request_id,
                "rating": rating,
                "rater": rater,
                "operation": operation,
                "comment": comment,
            }
        )
        return await self._transport.rate(command)

    async def close(self) -> None:
        """Give up all calls in progress and disconnect. Tasks that wait for an answer get Cancelled."""
        abandoned, self._open = list(self._open), set()
        for call in abandoned:
            call.abandon()
            await call.end()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _chat_call(
        self,
        model: str,
        messages: Messages,
        stream: bool,
        timeout_seconds: float,
        operation: str | None,
        tags: Mapping[str, str] | None,
        traceparent: str | None,
        routing: RoutingOptions | None,
        *,
        parameters: Mapping[str, object],
    ) -> RetryingCall:
        prepared = prepare_chat(
            model=model,
            messages=messages,
            stream=stream,
            timeout_seconds=timeout_seconds,
            operation=operation,
            tags=tags,
            traceparent=traceparent or current_traceparent(),
            routing=routing,
            parameters=parameters,
        )
        return self._open_call(prepared)

    def _open_call(self, prepared: PreparedRequest) -> RetryingCall:
        call = RetryingCall(self._transport, self.tenant, prepared, max_retries=self._max_retries, sleep=self._sleep)
        self._open.add(call)
        return call

    async def _complete(self, call: RetryingCall, parse: "_Parse[_Answer]") -> _Answer:
        try:
            return await _read_whole(call, parse)
        finally:
            self._open.discard(call)
            await call.end()


class _Parse(Protocol[_Answer_co]):
    """Parses a whole answer. Raises MalformedAnswer."""

    def __call__(self, raw: JsonObject, *, request_id: str, route: Route) -> _Answer_co: ...


async def _read_whole(call: RetryingCall, parse: _Parse[_Answer]) -> _Answer:
    parts: list[bytes] = []
    while True:
        piece = await call.next_piece()
        parts.append(piece.payload)
        if piece.last:
            break
    route = call.route
    assert route is not None, "an answer comes from a worker that accepted the request"
    try:
        return parse(parsing.parse_object(b"".join(parts)), request_id=call.request_id, route=route)
    except parsing.MalformedAnswer as error:
        raise call.fail_malformed(str(error)) from None
