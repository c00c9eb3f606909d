"""One request on its way, made again by itself while nothing was delivered and nothing can have been paid."""

import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from keyferry.client.errors import KeyferryError, build_error
from keyferry.client.prepared_request import Asked
from keyferry.client.results import Route
from keyferry.client.retry_policy import wait_seconds
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.frames import Accepted
from keyferry.contracts.route import Models
from keyferry.runtime.request.calls import CallAbandoned, CallFailed, Piece

Sleep = Callable[[float], Awaitable[None]]
"""Waits so many seconds."""


class PendingCall(Protocol):
    """One try: what `keyferry.runtime.request.calls.Call` does."""

    @property
    def accepted(self) -> Accepted | None:
        """Who took the request, once somebody has."""

    async def start(self) -> None:
        """Send it. Raises CallFailed."""

    async def next_piece(self) -> Piece | None:
        """The next piece. Raises CallFailed, and CallAbandoned after `abandon`."""

    async def cancel(self) -> None:
        """Tell the worker to stop; harmless when it is over."""

    def abandon(self) -> None:
        """Wake whoever waits for a piece."""


class ClientTransport(Protocol):
    """The way to the services."""

    def call(self, head: ChatRequest | EmbeddingRequest, body: bytes) -> PendingCall:
        """A try that is not sent yet."""

    async def models(self, tenant: str) -> Models:
        """What the tenant can call now. Raises KeyferryError."""

    async def close(self) -> None:
        """Leave, once those who were told to stop have heard it."""


class RetryingCall:
    """One request. `begin` it, take pieces until the last, and `end` it in any case."""

    def __init__(
        self, transport: ClientTransport, tenant: str, asked: Asked, *, max_retries: int, sleep: Sleep
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._asked = asked
        self._max_retries = max_retries
        self._sleep = sleep
        self._give_up_at = time.monotonic() + asked.timeout_seconds
        self._call: PendingCall | None = None
        self._retries = 0
        self._delivered = False
        self._error: KeyferryError | None = None
        self.request_id = ""
        """Of the latest try: each is a request of its own for the ledger."""

    @property
    def route(self) -> Route | None:
        """Which way the request goes, once a worker has taken it."""
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
        """The next piece of the answer. Raises KeyferryError, the same again once it has."""
        while self._error is None:
            await self.begin()
            assert self._call is not None
            try:
                piece = await self._call.next_piece()
            except CallFailed as error:
                await self._wait_before_retry(error)
                continue
            except CallAbandoned:
                raise self._over(_GIVEN_UP) from None
            assert piece is not None, "without a limit to its patience a call waits for a piece or raises"
            self._delivered = True
            return piece
        raise self._error

    async def end(self) -> None:
        """Nothing more is wanted: tell the worker to stop unless the answer is whole."""
        if self._call is not None:
            await self._call.cancel()

    def abandon(self) -> None:
        """The client closes: whoever waits for a piece gets Cancelled."""
        if self._call is not None:
            self._call.abandon()

    def broken(self, reason: str) -> KeyferryError:
        """The error for an answer that came whole and cannot be read."""
        return self._over(Failure(failure_class=FailureClass.INTERNAL, message=reason))

    # --- inside

    async def _send(self) -> None:
        left_ms = int((self._give_up_at - time.monotonic()) * 1000)
        head = self._asked.head(self._tenant, max(0, left_ms))
        self.request_id = head.request_id
        call = self._transport.call(head, self._asked.body)
        self._call = call
        await call.start()

    async def _wait_before_retry(self, error: CallFailed) -> None:
        """Wait until it is time for another try, or raise."""
        route = self.route
        wait = wait_seconds(
            error.failure,
            taken=route is not None,
            retries=self._retries,
            max_retries=0 if self._delivered else self._max_retries,
            left_seconds=self._give_up_at - time.monotonic(),
            chance=random.random(),
        )
        if wait is None:
            raise self._over(error.failure, error.decision_id) from None
        await self.end()
        self._call = None
        self._retries += 1
        await self._sleep(wait)

    def _over(self, failure: Failure, decision_id: str | None = None) -> KeyferryError:
        route = self.route
        decided = decision_id or (route.decision_id if route else None)
        self._error = build_error(failure, request_id=self.request_id, decision_id=decided, route=route)
        return self._error


_GIVEN_UP = Failure(
    failure_class=FailureClass.CANCELLED,
    message="the client was closed before the answer was whole",
    where=Where.GATEWAY,
)
