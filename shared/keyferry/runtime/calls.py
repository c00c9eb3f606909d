"""Calling for an answer over the bus: one wildcard inbox for a whole process, one `Call` for each request.

`Assembly` holds the rules (which attempt counts, which frame comes next, what is whole) without any I/O; `Call` adds the
waiting, and `Caller` the subscription.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from keyferry.contracts import frames
from keyferry.contracts.chat import ChatRequest, Control, ControlKind
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.topology import CHAT_REQUEST, WORKER_CONTROL
from keyferry.contracts.usage import Outcome

START_WITHIN_MS = 1000
"""A provider call has to begin within this time of the request being sent."""
_RESEND_AFTER_MS = START_WITHIN_MS + 200
_MAX_SENDS = 2
_NO_RESPONDERS = "503"


class CallFailed(Exception):
    """The request has ended without a whole answer."""

    def __init__(self, failure: Failure, *, decision_id: str | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.decision_id = decision_id


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer to deliver; `last` when the answer is whole with it."""

    payload: bytes
    last: bool


class CallAbandoned(Exception):
    """Whoever wanted the answer is gone."""


class Assembly:
    """Puts the frames of one request together. A gap is a failure: what is missing a piece must not look whole."""

    def __init__(self) -> None:
        self.accepted: frames.Accepted | None = None
        self._next_seq = 1

    def take(self, frame: frames.Frame) -> Piece | None:
        """The piece that `frame` adds, if any. Raises CallFailed."""
        if isinstance(frame, frames.Accepted):
            self._accept(frame)
            return None
        if isinstance(frame, frames.Refused):
            raise CallFailed(frame.failure, decision_id=frame.decision_id)
        if self.accepted is None or frame.attempt_id != self.accepted.attempt_id:
            return None
        if isinstance(frame, frames.Data):
            if frame.seq != self._next_seq:
                raise self._hole()
            self._next_seq += 1
            return Piece(frame.payload, last=False)
        return self._end(frame)

    def _accept(self, frame: frames.Accepted) -> None:
        if self.accepted is None or frame.attempt_number > self.accepted.attempt_number:
            self.accepted = frame
            self._next_seq = 1

    def _end(self, frame: frames.End) -> Piece:
        if frame.count != self._next_seq - 1:
            raise self._hole()
        if frame.outcome is not Outcome.COMPLETED:
            raise self._failed(
                frame.failure
                or Failure(failure_class=FailureClass.INTERNAL, message="the attempt ended without a reason")
            )
        return Piece(frame.payload, last=True)

    def _hole(self) -> CallFailed:
        return self._failed(
            Failure(
                failure_class=FailureClass.TRUNCATED,
                message="a part of the answer was lost between the services",
                where=Where.MID_STREAM,
            )
        )

    def _failed(self, failure: Failure) -> CallFailed:
        return CallFailed(failure, decision_id=self.accepted.decision_id if self.accepted else None)


class Call:
    """One request under way. Leave it with `cancel` when the answer is no longer wanted."""

    def __init__(self, caller: "Caller", head: ChatRequest, body: bytes) -> None:
        self._caller = caller
        self._head = head
        self._body = body
        self._token = secrets.token_urlsafe(12)
        self._arrived: deque[bytes | None] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._assembly = Assembly()
        self._give_up_at = time.monotonic() + head.deadline_ms / 1000
        self._resend_at = self._give_up_at
        self._sends = 0
        self._abandoned = False
        self._over = False

    @property
    def accepted(self) -> frames.Accepted | None:
        """Who took the request, once somebody has."""
        return self._assembly.accepted

    async def start(self) -> None:
        """Send the request. Raises CallFailed when the bus is away."""
        self._caller.register(self._token, self)
        await self._send()

    async def next_piece(self, patience_seconds: float | None = None) -> Piece | None:
        """The next piece; None when none came within `patience_seconds`.

        Raises CallFailed when there is no whole answer to be had, and CallAbandoned after `abandon`.
        """
        patient_until = None if patience_seconds is None else time.monotonic() + patience_seconds
        while True:
            if self._abandoned:
                raise CallAbandoned
            while self._arrived:
                if (piece := self._take(self._arrived.popleft())) is not None:
                    return piece
            if await self._wait(patient_until):
                continue
            if patient_until is not None and time.monotonic() >= patient_until:
                return None
            if time.monotonic() >= self._give_up_at:
                await self.cancel()
                raise self._fail(FailureClass.EXPIRED, "the request's deadline passed before the answer was whole")
            if self._unanswered and self._sends == _MAX_SENDS:
                raise self._fail(FailureClass.UNAVAILABLE, "no provider worker took the request in time; try again")
            if self._unanswered:
                await self._send()

    def abandon(self) -> None:
        """The answer is no longer wanted: `next_piece` raises CallAbandoned. Follow with `cancel`."""
        self._abandoned = True
        self._rouse()

    async def cancel(self) -> None:
        """Tell the worker to stop, if it has not; harmless when the call is over.

        While nobody has taken the request there is nobody to tell: the call then stays until somebody does, or nobody can
        any more.
        """
        if self._over:
            return
        if self.accepted is None and self._sends:
            self._abandoned = True
            asyncio.get_running_loop().call_later(_RESEND_AFTER_MS / 1000, self.close)
            return
        self.close()
        if self.accepted is not None:
            await self._tell_to_stop(self.accepted)

    async def _tell_to_stop(self, accepted: frames.Accepted) -> None:
        control = Control(kind=ControlKind.CANCEL, attempt_id=accepted.attempt_id)
        subject = WORKER_CONTROL.at(boot=accepted.boot_id, tenant=self._head.tenant)
        with suppress(NatsError):  # the bus is away: the worker notices by itself that nothing gets through
            await self._caller.client.publish(subject, control.encode())

    def close(self) -> None:
        """Forget the call: frames that still come are dropped."""
        self._over = True
        self._caller.forget(self._token)

    # --- inside

    def deliver(self, data: bytes | None) -> None:
        """A frame has arrived for this call; None when nobody listens to the request's subject."""
        if self._abandoned and data is not None:
            self._deliver_late(data)
            return
        self._arrived.append(data)
        self._rouse()

    def _deliver_late(self, data: bytes) -> None:
        """A frame for a call that is no longer wanted: all that matters is who to tell."""
        with suppress(MalformedMessage):
            frame = frames.decode(data)
            if isinstance(frame, frames.Accepted):
                self.close()
                self._caller.spawn(self._tell_to_stop(frame))

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    @property
    def _unanswered(self) -> bool:
        """Nobody has taken the request, and it is late enough that nobody will start on what was sent."""
        return self.accepted is None and time.monotonic() >= self._resend_at

    def _take(self, data: bytes | None) -> Piece | None:
        if data is None:
            raise self._fail(FailureClass.UNAVAILABLE, "no router is running; try again in a moment")
        try:
            piece = self._assembly.take(frames.decode(data))
        except MalformedMessage as error:
            raise self._fail(FailureClass.INTERNAL, f"a frame could not be read: {error.reason}") from None
        except CallFailed:
            self.close()
            raise
        if piece is not None and piece.last:
            self.close()
        return piece

    def _fail(self, failure_class: FailureClass, message: str) -> CallFailed:
        return CallFailed(Failure(failure_class=failure_class, message=message))

    async def _send(self) -> None:
        self._sends += 1
        start_by = time.time_ns() // 1_000_000 + START_WITHIN_MS
        left_ms = max(0, int((self._give_up_at - time.monotonic()) * 1000))
        self._resend_at = time.monotonic() + _RESEND_AFTER_MS / 1000
        head = self._head.model_copy(update={"start_by_unix_ms": start_by, "deadline_ms": left_ms})
        try:
            await self._caller.client.publish(
                CHAT_REQUEST.at(tenant=head.tenant), head.with_body(self._body), reply=self._caller.inbox(self._token)
            )
        except NatsError:
            self.close()
            raise self._fail(FailureClass.UNAVAILABLE, "the bus is away; try again in a moment") from None

    async def _wait(self, patient_until: float | None) -> bool:
        """Sleep until something happens or has to be done; whether something happened."""
        until = self._give_up_at if self.accepted is not None else min(self._give_up_at, self._resend_at)
        if patient_until is not None:
            until = min(until, patient_until)
        left = until - time.monotonic()
        if left <= 0:
            return False
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(left, self._rouse)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None
        return bool(self._arrived) or self._abandoned


class Caller:
    """The process's one wildcard inbox. Tokens are unguessable, since others may publish to the prefix."""

    def __init__(self, client: Client, inbox_prefix: str, boot_id: str) -> None:
        self.client = client
        self._prefix = f"{inbox_prefix}.{boot_id}."
        self._calls: dict[str, Call] = {}
        self._errands: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Subscribe the inbox."""
        await self.client.subscribe(f"{self._prefix}*", cb=self._on_frame)

    def call(self, head: ChatRequest, body: bytes) -> Call:
        """A request that is not sent yet. `head.deadline_ms` counts from here."""
        return Call(self, head, body)

    @property
    def open_calls(self) -> int:
        """Calls that are not over."""
        return len(self._calls)

    def inbox(self, token: str) -> str:
        """Where frames for this call go."""
        return self._prefix + token

    def register(self, token: str, call: Call) -> None:
        """From now on frames for `token` go to `call`."""
        self._calls[token] = call

    def forget(self, token: str) -> None:
        """Frames for `token` are dropped from now on."""
        self._calls.pop(token, None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, whoever leaves meanwhile."""
        task = asyncio.ensure_future(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _on_frame(self, message: Msg) -> None:
        call = self._calls.get(message.subject[len(self._prefix) :])
        if call is None:
            return
        if not message.data and message.headers and message.headers.get("Status") == _NO_RESPONDERS:
            call.deliver(None)
        else:
            call.deliver(message.data)
