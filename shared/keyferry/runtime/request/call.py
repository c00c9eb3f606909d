"""One request over the bus and its answer: waiting, sending again, credit, cancelling.

`Assembly` holds the rules without any I/O; `CallInbox` has the subscription.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError

from keyferry.contracts import frames
from keyferry.contracts.chat import ChatRequest, Control, ControlKind, EmbeddingRequest, start_within_ms
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.topology import CHAT_REQUEST, EMBEDDING_REQUEST, WORKER_CONTROL
from keyferry.contracts.traces import SpanKind
from keyferry.contracts.usage import RequestKind
from keyferry.runtime.request.assembly import Assembly, CallFailed, Piece
from keyferry.runtime.tracing.span import Span

_RESEND_MARGIN_MS = 200
_MAX_SENDS = 2


class CallAbandoned(Exception):
    """The answer is no longer wanted."""


class ReplyInbox(Protocol):
    """What a call needs of the inbox that it is answered in."""

    client: Client

    @property
    def connection(self) -> int:
        """Number of reconnects: what was under way over an earlier connection may be lost."""

    def next_credit_bytes(self) -> int:
        """Return what a new call grants at first."""

    def subject(self, token: str) -> str:
        """Return the subject for the frames of one call."""

    def register(self, token: str, call: "Call") -> None:
        """Deliver frames for `token` to `call` from now on."""

    def unregister(self, token: str) -> None:
        """Drop frames for `token` from now on."""

    async def catch_up(self) -> bool:
        """Wait until everything sent to this process so far has been delivered; return False if the bus does not answer."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, independently of its caller."""


class Call:
    """One request under way. End it with `cancel` when the answer is no longer wanted."""

    def __init__(
        self, inbox: ReplyInbox, head: ChatRequest | EmbeddingRequest, body: bytes, span: Span | None = None
    ) -> None:
        self._inbox = inbox
        self._span = span
        """What the request is part of; None where the caller has no spans of ours."""
        self._sending: Span | None = None
        """From the latest sending until somebody answers."""
        self.granted_bytes = inbox.next_credit_bytes()
        """Payload by which the worker may be ahead of the reader."""
        self._head = head.model_copy(update={"credit_bytes": self.granted_bytes})
        self._body = body
        self._start_within_ms = start_within_ms(len(body))
        self._resend_after_ms = self._start_within_ms + _RESEND_MARGIN_MS
        self._delivered_bytes = 0
        self._consumed_bytes = 0
        self._active_at = time.monotonic()
        self._doubted = False
        self._token = secrets.token_urlsafe(12)
        self._arrived: deque[bytes | None] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._assembly = Assembly()
        self._give_up_at = time.monotonic() + head.deadline_ms / 1000
        self._resend_at = self._give_up_at
        self._sent_at = time.monotonic()
        self.sends = 0
        """How often the request was sent."""
        self._sent_over: int | None = None
        """The connection over which the request was first sent, counted by reconnects."""
        self._lost: str | None = None
        self._abandoned = False
        self._cancelled = False
        self._over = False

    @property
    def tenant(self) -> str:
        """The tenant of the request."""
        return self._head.tenant

    @property
    def accepted(self) -> frames.Accepted | None:
        """The acceptance of the worker that runs the request, once there is one."""
        return self._assembly.accepted

    @property
    def rate_limits(self) -> RateLimits | None:
        """What was left of the caller's limits when the request was admitted; the time until their reset is as of now."""
        limits = None if self.accepted is None else self.accepted.rate_limits
        return limits and limits.after(int((time.monotonic() - self._sent_at) * 1000))

    async def start(self) -> None:
        """Send the request. Raises CallFailed when the bus is away."""
        self._inbox.register(self._token, self)
        await self._send()

    async def next_piece(self, timeout_seconds: float | None = None) -> Piece | None:
        """Return the next piece, or None when none arrives within `timeout_seconds`.

        Raises CallFailed when there will be no complete answer, which cancels the call, and CallAbandoned after `abandon`.
        """
        try:
            return await self._next_piece(timeout_seconds)
        except CallFailed:
            await self.cancel()
            raise

    async def _next_piece(self, timeout_seconds: float | None) -> Piece | None:
        await self._grant_consumed()
        timeout_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            if self._abandoned:
                raise CallAbandoned
            while self._arrived:
                if (piece := self._take(self._arrived.popleft())) is not None:
                    self._delivered_bytes = len(piece.payload)
                    return piece
            if self._lost is not None:
                raise self._lost_failure(self._lost)
            if await self._wait(timeout_at):
                continue
            if timeout_at is not None and time.monotonic() >= timeout_at:
                return None
            await self._on_overdue()

    async def _on_overdue(self) -> None:
        """Send again, where that is safe. Raises CallFailed when it is too late."""
        if time.monotonic() >= self._give_up_at:
            message = "the request's deadline passed before the answer was complete"
            raise _failure(FailureClass.EXPIRED, message, self._where)
        if not self._unanswered:
            return
        caught_up = await self._inbox.catch_up()
        if self._arrived:
            return
        if not caught_up:
            message = "the bus does not answer, so it is unknown whether a provider worker has taken the request"
            raise _failure(FailureClass.UNAVAILABLE, message, Where.NO_ANSWER)
        if self._inbox.connection != self._sent_over:
            # An acceptance that was under way is lost with the connection: a worker may be calling the provider by now.
            message = "the bus went away before a provider worker could say whether it had taken the request"
            raise _failure(FailureClass.UNAVAILABLE, message, Where.NO_ANSWER)
        if self.sends == _MAX_SENDS:
            raise _failure(FailureClass.UNAVAILABLE, "no provider worker took the request in time; try again")
        await self._send()

    async def _grant_consumed(self) -> None:
        """Grant the worker as much as the reader has consumed: it asks for the next piece, so it is done with the last."""
        self._consumed_bytes += self._delivered_bytes
        self._delivered_bytes = 0
        if 2 * self._consumed_bytes >= self.granted_bytes and self.accepted is not None:
            consumed, self._consumed_bytes = self._consumed_bytes, 0
            await self._send_control(self.accepted, ControlKind.CREDIT, credit_bytes=consumed)

    def abandon(self) -> None:
        """Make `next_piece` raise CallAbandoned: the answer is no longer wanted. Follow with `cancel`."""
        self._abandoned = True
        self._wake()

    async def cancel(self) -> None:
        """Cancel the attempt at its worker, unless it has ended; harmless when the call is over.

        The call stays registered for a moment: a worker may accept the request only now, or again after a failed attempt, and
        has to be cancelled as well. After that moment no worker starts on it any more.
        """
        if self._over or self._cancelled:
            return
        self._abandoned = self._cancelled = True
        self._wake()
        if not self.sends:
            self.close()
        while self._arrived and not self._over:
            self._read_after_end(self._arrived.popleft())
        if self._over:
            return
        asyncio.get_running_loop().call_later(self._resend_after_ms / 1000, self.close)
        if self.accepted is not None:
            await self._send_control(self.accepted, ControlKind.CANCEL)

    async def _send_control(self, accepted: frames.Accepted, kind: ControlKind, *, credit_bytes: int = 0) -> None:
        control = Control(
            kind=kind, attempt_id=accepted.attempt_id, credit_bytes=credit_bytes, traceparent=self._head.traceparent
        )
        subject = WORKER_CONTROL.format(instance=accepted.instance_id, tenant=self._head.tenant)
        with suppress(NatsError):  # the bus is unavailable: the worker detects that by itself
            await self._inbox.client.publish(subject, control.encode())

    def close(self) -> None:
        """End the call: frames that still arrive are dropped."""
        self._over = True
        self._end_sending(FailureClass.CANCELLED if self._cancelled else FailureClass.UNAVAILABLE)
        self._inbox.unregister(self._token)

    # --- called by the inbox and the liveness watch

    def deliver(self, data: bytes | None) -> None:
        """Take a frame that has arrived for this call; None when the request's subject has no subscriber."""
        if self._abandoned:
            if (accepted := self._read_after_end(data)) is not None:
                self._inbox.spawn(self._send_control(accepted, ControlKind.CANCEL))
            return
        self._arrived.append(data)
        self._active_at = time.monotonic()
        self._doubted = False
        self._wake()

    def silent_since(self, moment: float) -> str | None:
        """Return the instance id of the worker that has sent nothing since `moment` (monotonic seconds), if one has the call."""
        if self._over or self._abandoned or self.accepted is None or self._active_at > moment or self._arrived:
            return None
        return self.accepted.instance_id

    def active_since(self, moment: float) -> str | None:
        """Return the instance id of the worker that has sent something since `moment` (monotonic seconds), if one has."""
        return self.accepted.instance_id if self.accepted is not None and self._active_at > moment else None

    def doubt(self) -> None:
        """Note that the worker does not have the attempt; the second time in a row the call is lost.

        Once may be chance: a request that is being rerouted belongs to no worker for a moment.
        """
        if self._doubted:
            self.lose("the worker lost the request")
        self._doubted = True

    def lose(self, why: str) -> None:
        """Make `next_piece` raise: no worker runs the request any more."""
        self._lost = why
        self._wake()

    # --- inside

    def _read_after_end(self, data: bytes | None) -> frames.Accepted | None:
        """Read a frame of an abandoned call: all that matters is which worker to cancel, and whether the call is over."""
        with suppress(MalformedMessage):
            frame = frames.decode(data or b"")
            if isinstance(frame, frames.Accepted):
                self._assembly.take(frame)
                return frame
            if isinstance(frame, frames.RequestRefused) or self._is_end(frame):
                self.close()
        return None

    def _is_end(self, frame: frames.Frame) -> bool:
        return (
            isinstance(frame, frames.End) and self.accepted is not None and frame.attempt_id == self.accepted.attempt_id
        )

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    @property
    def _unanswered(self) -> bool:
        """Whether no worker has accepted the request, and it is too late for one to start on what was sent."""
        return self.accepted is None and time.monotonic() >= self._resend_at

    def _take(self, data: bytes | None) -> Piece | None:
        if data is None:
            raise _failure(FailureClass.UNAVAILABLE, "no router is running; try again in a moment", self._where)
        try:
            frame = frames.decode(data)
        except MalformedMessage as error:
            raise _failure(FailureClass.INTERNAL, f"a frame could not be read: {error.reason}") from None
        self._end_sending()
        try:
            piece = self._assembly.take(frame)
            if isinstance(frame, frames.Accepted) and frame.awaits_start:
                # One attempt at a time is confirmed: of a request that was sent twice the other one calls no provider.
                confirmed = self.accepted is frame
                self._inbox.spawn(self._send_control(frame, ControlKind.START if confirmed else ControlKind.CANCEL))
        except CallFailed:
            if not isinstance(frame, frames.Data):  # after a gap in the data the worker is still running
                self.close()
            raise
        if piece is not None and piece.last:
            self.close()
        return piece

    @property
    def _where(self) -> Where:
        """How far the request may have come: once a worker has accepted it, its provider may have charged."""
        if self.accepted is None:
            return Where.GATEWAY
        return Where.MID_STREAM if self._assembly.pieces else Where.NO_ANSWER

    def _lost_failure(self, why: str) -> CallFailed:
        """Return the failure of a lost call.

        Whether the provider was paid is unknown now; the ledger records `indeterminate` once the worker is back.
        """
        failure = Failure(
            failure_class=FailureClass.INDETERMINATE,
            message=f"{why}; the answer is not complete",
            where=Where.MID_STREAM if self._assembly.pieces else Where.NO_ANSWER,
        )
        return CallFailed(failure, decision_id=self.accepted.decision_id if self.accepted else None)

    async def _send(self) -> None:
        if self._sent_over is None:
            self._sent_over = self._inbox.connection
        self.sends += 1
        start_by = time.time_ns() // 1_000_000 + self._start_within_ms
        left_ms = max(0, int((self._give_up_at - time.monotonic()) * 1000))
        self._sent_at = time.monotonic()
        self._resend_at = self._sent_at + self._resend_after_ms / 1000
        changes: dict[str, object] = {"start_by_unix_ms": start_by, "deadline_ms": left_ms}
        # Between servers an acceptance may be under way although the own one has passed on all it had.
        changes["confirm_start"] = len(self._inbox.client.servers) > 1
        if self._span is not None:
            self._end_sending(FailureClass.UNAVAILABLE)
            self._sending = self._span.child("request.send", SpanKind.PRODUCER)
            self._sending.set(keyferry__sends=self.sends)
            changes["traceparent"] = self._sending.traceparent
        head = self._head.model_copy(update=changes)
        subject = EMBEDDING_REQUEST if head.kind is RequestKind.EMBEDDING else CHAT_REQUEST
        try:
            await self._inbox.client.publish(
                subject.format(tenant=head.tenant), head.with_body(self._body), reply=self._inbox.subject(self._token)
            )
        except NatsError:
            self.close()
            raise _failure(FailureClass.UNAVAILABLE, "the bus is away; try again in a moment") from None

    def _end_sending(self, failure_class: FailureClass | None = None) -> None:
        """End the span of the latest sending: somebody has answered, or `failure_class` says why nobody did."""
        if self._sending is not None:
            if failure_class is not None:
                self._sending.fail(failure_class.value)
            self._sending.end()
            self._sending = None

    async def _wait(self, timeout_at: float | None) -> bool:
        """Sleep until something happens or is due; return whether something happened."""
        until = self._give_up_at if self.accepted is not None else min(self._give_up_at, self._resend_at)
        if timeout_at is not None:
            until = min(until, timeout_at)
        left = until - time.monotonic()
        if left <= 0:
            return False
        loop = asyncio.get_running_loop()
        self._wakeup = loop.create_future()
        timer = loop.call_later(left, self._wake)
        try:
            await self._wakeup
        finally:
            timer.cancel()
            self._wakeup = None
        return bool(self._arrived) or self._abandoned or self._lost is not None


def _failure(failure_class: FailureClass, message: str, where: Where = Where.GATEWAY) -> CallFailed:
    return CallFailed(Failure(failure_class=failure_class, message=message, where=where))
