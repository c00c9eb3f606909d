"""One request in progress, retried while nothing was delivered and nothing can have been charged."""

import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from keyferry.client.errors import KeyferryError, build_error
from keyferry.client.prepared_request import PreparedRequest
from keyferry.client.results import Route
from keyferry.client.retry_policy import wait_seconds
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.feedback import Feedback, SaveFeedback
from keyferry.contracts.frames import Accepted
from keyferry.contracts.route import Models
from keyferry.runtime.request.assembly import CallFailed, Piece
from keyferry.runtime.request.call import CallAbandoned

Sleep = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds."""


class PendingCall(Protocol):
    """One attempt to make the request: the interface of `keyferry.runtime.request.call.Call`."""

    @property
    def accepted(self) -> Accepted | None:
        """The worker's acceptance, once there is one."""

    async def start(self) -> None:
        """Send the request. Raises CallFailed."""

    async def next_piece(self) -> Piece | None:
        """Return the next piece. Raises CallFailed, and CallAbandoned after `abandon`."""

    async def cancel(self) -> None:
        """Make the worker stop; harmless after the end."""

    def abandon(self) -> None:
        """Wake the task that waits for a piece."""


class ClientTransport(Protocol):
    """The connection to the services."""

    def call(self, head: ChatRequest | EmbeddingRequest, body: bytes) -> PendingCall:
        """Return a call that is not sent yet."""

    async def models(self, tenant: str) -> Models:
        """Return the models that the tenant can call now. Raises KeyferryError."""

    async def rate(self, command: SaveFeedback) -> Feedback:
        """Store a rating. Raises KeyferryError."""

    async def close(self) -> None:
        """Disconnect, once the workers of cancelled calls have been notified."""


class RetryingCall:
    """One request. `begin` it, read pieces until the last one, and always `end` it."""

    def __init__(
        self, transport: ClientTransport, tenant: str, request: PreparedRequest, *, max_retries: int, sleep: Sleep
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._request = request
        self._max_retries = max_retries
        self._sleep = sleep
        self._give_up_at = time.monotonic() + request.timeout_seconds
        self._call: PendingCall | None = None
        self._retries = 0
        self._delivered = False
        self._error: KeyferryError | None = None
        self.request_id = ""
        """The id of the latest attempt: the ledger records each as a request of its own."""

    @property
    def route(self) -> Route | None:
        """The route of the request, once a worker has accepted it."""
        accepted = self._call.accepted if self._call is not None else None
        return None if accepted is None else Route.of(accepted)

    async def begin(self) -> None:
        """Send the request. Raises KeyferryError."""
        while self._call is None:
            try:
                await self._send()
            except CallFailed as error:
                await self._wait_before_retry(error)

    async def next_piece(self) -> Piece:
        """Return the next piece of the answer. Raises KeyferryError; later calls raise the same error."""
        while self._error is None:
            await self.begin()
            assert self._call is not None
            try:
                piece = await self._call.next_piece()
            except CallFailed as error:
                await self._wait_before_retry(error)
                continue
            except CallAbandoned:
                raise self._fail(_GIVEN_UP) from None
            assert piece is not None, "without a timeout a call returns a piece or raises"
            self._delivered = True
            return piece
        raise self._error

    async def end(self) -> None:
        """Make the worker stop, unless the answer is complete."""
        if self._call is not None:
            await self._call.cancel()

    def abandon(self) -> None:
        """Give the request up: a task that waits for a piece gets Cancelled."""
        if self._call is not None:
            self._call.abandon()

    def fail_malformed(self, reason: str) -> KeyferryError:
        """Return the error for a complete answer that cannot be parsed."""
        return self._fail(Failure(failure_class=FailureClass.INTERNAL, message=reason))

    async def _send(self) -> None:
        left_ms = int((self._give_up_at - time.monotonic()) * 1000)
        head = self._request.head(self._tenant, max(0, left_ms))
        self.request_id = head.request_id
        call = self._transport.call(head, self._request.body)
        self._call = call
        await call.start()

    async def _wait_before_retry(self, error: CallFailed) -> None:
        """Wait until it is time for the next attempt, or raise."""
        route = self.route
        wait = wait_seconds(
            error.failure,
            accepted=route is not None,
            retries=self._retries,
            max_retries=0 if self._delivered else self._max_retries,
            left_seconds=self._give_up_at - time.monotonic(),
            chance=random.random(),
        )
        if wait is None:
            raise self._fail(error.failure, error) from None
        await self.end()
        self._call = None
        self._retries += 1
        await self._sleep(wait)

    def _fail(self, failure: Failure, cause: CallFailed | None = None) -> KeyferryError:
        route = self.route
        decision_id = cause.decision_id if cause else None
        self._error = build_error(
            failure,
            request_id=self.request_id,
            decision_id=decision_id or (route.decision_id if route else None),
            route=route,
            rate_limits=cause.rate_limits if cause else None,
            decision=cause.decision if cause else None,
        )
        return self._error


_GIVEN_UP = Failure(
    failure_class=FailureClass.CANCELLED,
    message="the client was closed before the answer was whole",
    where=Where.GATEWAY,
)
