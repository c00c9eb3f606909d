"""Calling for an answer over the bus: one wildcard inbox for a whole process, one `Call` for each request.

`Assembly` holds the rules without any I/O; `Call` adds the waiting, and `Caller` the subscription.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from keyferry.contracts import frames
from keyferry.contracts.chat import (
    DEFAULT_CREDIT_BYTES,
    START_WITHIN_MS,
    ChatRequest,
    Control,
    ControlKind,
    EmbeddingRequest,
    Probe,
    ProbeReply,
)
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.topology import CHAT_REQUEST, EMBEDDING_REQUEST, WORKER_CONTROL, WORKER_PROBE
from keyferry.contracts.usage import RequestKind
from keyferry.runtime.request.assembly import Assembly, CallFailed, Piece

__all__ = ["Assembly", "Call", "CallAbandoned", "CallFailed", "Caller", "Piece", "SilenceWatch"]
from keyferry.runtime.process.tasks import cancel_and_wait

_RESEND_AFTER_MS = START_WITHIN_MS + 200
_MAX_SENDS = 2
MAX_CREDIT_BYTES = 16 * 1024 * 1024
"""Granted by one process in all: what may lie in the server's buffer for it (64 MB) without the server cutting it off."""
MIN_CREDIT_BYTES = 4 * 1024
_SHARES = 16
_PROBE_EVERY_SECONDS = 1.0
_PROBE_MOST = 5000
_FROZEN_SECONDS = 10.0
"""A worker that does not answer for so long is treated as dead; shorter freezes only delay."""
_CATCH_UP_SECONDS = 0.05
"""Within this time of the bus's own answer everything comes that was under way to it from others."""
_CATCH_UP_ROUNDS = 3
_BUS_PATIENCE_SECONDS = 5.0
_LONGER_THAN_A_CONNECTION_SECONDS = 60
_NO_RESPONDERS = "503"


_log = logging.getLogger(__name__)


class CallAbandoned(Exception):
    """Whoever wanted the answer is gone."""


class Call:
    """One request under way. Leave it with `cancel` when the answer is no longer wanted."""

    def __init__(self, caller: "Caller", head: ChatRequest | EmbeddingRequest, body: bytes) -> None:
        self._caller = caller
        self.granted_bytes = caller.credit_bytes()
        """Payload that the worker may be ahead of the reader by."""
        self._head = head.model_copy(update={"credit_bytes": self.granted_bytes})
        self._body = body
        self._handed_bytes = 0
        self._taken_bytes = 0
        self._heard_at = time.monotonic()
        self._doubted = False
        self._token = secrets.token_urlsafe(12)
        self._arrived: deque[bytes | None] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._assembly = Assembly()
        self._give_up_at = time.monotonic() + head.deadline_ms / 1000
        self._resend_at = self._give_up_at
        self._sends = 0
        self._sent_over: int | None = None
        """Which connection of this process the request was first sent over, counted by reconnects."""
        self._lost: str | None = None
        self._abandoned = False
        self._cancelled = False
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

        Raises CallFailed when there is no whole answer to be had, which cancels the call, and CallAbandoned after `abandon`.
        """
        try:
            return await self._next_piece(patience_seconds)
        except CallFailed:
            await self.cancel()
            raise

    async def _next_piece(self, patience_seconds: float | None) -> Piece | None:
        await self._grant_what_was_taken()
        patient_until = None if patience_seconds is None else time.monotonic() + patience_seconds
        while True:
            if self._abandoned:
                raise CallAbandoned
            while self._arrived:
                if (piece := self._take(self._arrived.popleft())) is not None:
                    self._handed_bytes = len(piece.payload)
                    return piece
            if self._lost is not None:
                raise self._gone(self._lost)
            if await self._wait(patient_until):
                continue
            if patient_until is not None and time.monotonic() >= patient_until:
                return None
            await self._overdue()

    async def _overdue(self) -> None:
        """A moment has passed by which something should have come. Raises CallFailed when it is too late."""
        if time.monotonic() >= self._give_up_at:
            raise self._fail(FailureClass.EXPIRED, "the request's deadline passed before the answer was whole")
        if not self._unanswered:
            return
        caught_up = await self._caller.catch_up()
        if self._arrived:
            return
        if not caught_up:
            raise self._fail(FailureClass.UNAVAILABLE, "the bus does not answer; try again in a moment")
        if self._caller.connection != self._sent_over:
            # An acceptance that was under way is gone with the connection: somebody may be calling the provider by now.
            raise self._fail(
                FailureClass.UNAVAILABLE,
                "the bus went away before a provider worker could say that it had taken the request; try again",
            )
        if self._sends == _MAX_SENDS:
            raise self._fail(FailureClass.UNAVAILABLE, "no provider worker took the request in time; try again")
        await self._send()

    async def _grant_what_was_taken(self) -> None:
        """Let the worker send as much again as the reader has done with: it asks for the next piece, so it has."""
        self._taken_bytes += self._handed_bytes
        self._handed_bytes = 0
        if 2 * self._taken_bytes >= self.granted_bytes and self.accepted is not None:
            taken, self._taken_bytes = self._taken_bytes, 0
            await self._tell(self.accepted, ControlKind.CREDIT, credit_bytes=taken)

    def abandon(self) -> None:
        """The answer is no longer wanted: `next_piece` raises CallAbandoned. Follow with `cancel`."""
        self._abandoned = True
        self._rouse()

    async def cancel(self) -> None:
        """Tell the worker to stop, if it has not; harmless when the call is over.

        The call stays for a moment: somebody may only now take the request, or take it up again where an attempt has just
        failed, and has to be told as well. After that moment nobody starts on it any more.
        """
        if self._over or self._cancelled:
            return
        self._abandoned = self._cancelled = True
        self._rouse()
        if not self._sends:
            self.close()
        while self._arrived and not self._over:
            self._learn(self._arrived.popleft())
        if self._over:
            return
        asyncio.get_running_loop().call_later(_RESEND_AFTER_MS / 1000, self.close)
        if self.accepted is not None:
            await self._tell(self.accepted, ControlKind.CANCEL)

    async def _tell(self, accepted: frames.Accepted, kind: ControlKind, *, credit_bytes: int = 0) -> None:
        control = Control(
            kind=kind, attempt_id=accepted.attempt_id, credit_bytes=credit_bytes, traceparent=self._head.traceparent
        )
        subject = WORKER_CONTROL.format(instance=accepted.instance_id, tenant=self._head.tenant)
        with suppress(NatsError):  # the bus is away: the worker notices by itself that nothing gets through
            await self._caller.client.publish(subject, control.encode())

    def close(self) -> None:
        """Forget the call: frames that still come are dropped."""
        self._over = True
        self._caller.forget(self._token)

    # --- inside

    def deliver(self, data: bytes | None) -> None:
        """A frame has arrived for this call; None when nobody listens to the request's subject."""
        if self._abandoned:
            if (accepted := self._learn(data)) is not None:
                self._caller.spawn(self._tell(accepted, ControlKind.CANCEL))
            return
        self._arrived.append(data)
        self._heard_at = time.monotonic()
        self._doubted = False
        self._rouse()

    def silent_since(self, moment: float) -> str | None:
        """The instance id of the worker that has said nothing since `moment` (monotonic seconds), if one has the request."""
        if self._over or self._abandoned or self.accepted is None or self._heard_at > moment or self._arrived:
            return None
        return self.accepted.instance_id

    def heard_since(self, moment: float) -> str | None:
        """The instance id of the worker that has said something after `moment` (monotonic seconds), if one has."""
        return self.accepted.instance_id if self.accepted is not None and self._heard_at > moment else None

    def doubt(self) -> None:
        """The worker says that it does not have the attempt. The second time in a row it is lost.

        Once may be chance: a request that is being planned anew belongs to nobody for a moment.
        """
        if self._doubted:
            self.lose("the worker lost the request")
        self._doubted = True

    def lose(self, why: str) -> None:
        """Nobody works on the request any more: `next_piece` raises."""
        self._lost = why
        self._rouse()

    def _learn(self, data: bytes | None) -> frames.Accepted | None:
        """A frame for a call that is no longer wanted: all that matters is who to tell, and whether it is over."""
        with suppress(MalformedMessage):
            frame = frames.decode(data or b"")
            if isinstance(frame, frames.Accepted):
                self._assembly.take(frame)
                return frame
            if isinstance(frame, frames.Refused) or self._ends(frame):
                self.close()
        return None

    def _ends(self, frame: frames.Frame) -> bool:
        return (
            isinstance(frame, frames.End) and self.accepted is not None and frame.attempt_id == self.accepted.attempt_id
        )

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
            frame = frames.decode(data)
        except MalformedMessage as error:
            raise self._fail(FailureClass.INTERNAL, f"a frame could not be read: {error.reason}") from None
        try:
            piece = self._assembly.take(frame)
        except CallFailed:
            if not isinstance(frame, frames.Data):  # behind a hole in the data the worker is still at it
                self.close()
            raise
        if piece is not None and piece.last:
            self.close()
        return piece

    def _gone(self, why: str) -> CallFailed:
        """Whether the provider was paid cannot be known now; the ledger says `indeterminate` once the worker is back."""
        failure = Failure(
            failure_class=FailureClass.INDETERMINATE,
            message=f"{why}; the answer is not whole",
            where=Where.MID_STREAM if self._assembly.pieces else Where.NO_ANSWER,
        )
        return CallFailed(failure, decision_id=self.accepted.decision_id if self.accepted else None)

    def _fail(self, failure_class: FailureClass, message: str) -> CallFailed:
        return CallFailed(Failure(failure_class=failure_class, message=message))

    async def _send(self) -> None:
        if self._sent_over is None:
            self._sent_over = self._caller.connection
        self._sends += 1
        start_by = time.time_ns() // 1_000_000 + START_WITHIN_MS
        left_ms = max(0, int((self._give_up_at - time.monotonic()) * 1000))
        self._resend_at = time.monotonic() + _RESEND_AFTER_MS / 1000
        head = self._head.model_copy(update={"start_by_unix_ms": start_by, "deadline_ms": left_ms})
        subject = EMBEDDING_REQUEST if head.kind is RequestKind.EMBEDDING else CHAT_REQUEST
        try:
            await self._caller.client.publish(
                subject.format(tenant=head.tenant), head.with_body(self._body), reply=self._caller.inbox(self._token)
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
        return bool(self._arrived) or self._abandoned or self._lost is not None


class SilenceWatch:
    """Asks workers that have been silent whether they still have what they took: once a second and worker process.

    A worker that is gone has no subscription, and the server says so at once; one that restarted has another instance id; one
    that is frozen does not answer, and gets some time.
    """

    def __init__(self, client: Client, calls: dict[str, Call]) -> None:
        self._client = client
        self._calls = calls
        self._unanswered_since: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="silence watch")

    async def stop(self) -> None:
        """Stop."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_EVERY_SECONDS)
            silent: dict[str, list[Call]] = {}
            heard: set[str | None] = set()
            moment = time.monotonic() - _PROBE_EVERY_SECONDS
            for call in list(self._calls.values()):
                heard.add(call.heard_since(moment))
                if (boot := call.silent_since(moment)) is not None:
                    silent.setdefault(boot, []).append(call)
            # A worker whose frames come is alive, though its answer to a probe may wait behind thousands of them.
            self._unanswered_since = {b: t for b, t in self._unanswered_since.items() if b in silent and b not in heard}
            probes = (self._probe(boot, calls) for boot, calls in silent.items())
            for error in await asyncio.gather(*probes, return_exceptions=True):
                if isinstance(error, Exception):
                    _log.error("a probe failed", exc_info=error)

    async def _probe(self, boot: str, calls: list[Call]) -> None:
        by_attempt = {call.accepted.attempt_id: call for call in calls[:_PROBE_MOST] if call.accepted is not None}
        probe = Probe(attempt_ids=list(by_attempt))
        try:
            reply = await self._client.request(
                WORKER_PROBE.format(instance=boot), probe.encode(), timeout=_PROBE_EVERY_SECONDS
            )
            unknown = ProbeReply.decode(reply.data).unknown
        except NoRespondersError:
            for call in calls:
                call.lose("the worker died in the middle of the answer")
            return
        except (NatsError, TimeoutError, MalformedMessage):
            self._no_answer(boot, calls)
            return
        self._unanswered_since.pop(boot, None)
        for attempt_id in unknown:
            if (doubted := by_attempt.get(attempt_id)) is not None:
                doubted.doubt()

    def _no_answer(self, boot: str, calls: list[Call]) -> None:
        if not self._client.is_connected:
            return  # nobody can be asked: the bus itself is away
        since = self._unanswered_since.setdefault(boot, time.monotonic())
        if time.monotonic() - since > _FROZEN_SECONDS:
            for call in calls:
                call.lose("the worker does not answer any more")


class Caller:
    """The process's one wildcard inbox. Tokens are unguessable, since others may publish to the prefix."""

    def __init__(self, client: Client, inbox_prefix: str, instance_id: str) -> None:
        self.client = client
        self._prefix = f"{inbox_prefix}.{instance_id}."
        self._calls: dict[str, Call] = {}
        self._granted_bytes = 0
        self._errands: set[asyncio.Task[Any]] = set()
        self._watch = SilenceWatch(client, self._calls)
        self._inbox: Subscription | None = None

    async def start(self) -> None:
        """Subscribe the inbox, and begin to watch for silence."""
        self._inbox = await self.client.subscribe(f"{self._prefix}*", cb=self._on_frame)
        self._watch.start()

    async def stop(self) -> None:
        """Stop watching; calls that are open end by their deadlines."""
        await self._watch.stop()

    def lose_all(self, why: str) -> None:
        """The process cannot wait for its open calls any longer: each of them fails, and its worker is told to stop."""
        for call in list(self._calls.values()):
            call.lose(why)

    def credit_bytes(self) -> int:
        """What a new call grants at first: a share of what is left, so that all calls together stay within MAX_CREDIT_BYTES.

        When next to nothing is left a call still gets MIN_CREDIT_BYTES, for it could not go on without.
        """
        left_bytes = MAX_CREDIT_BYTES - self._granted_bytes
        return max(MIN_CREDIT_BYTES, min(DEFAULT_CREDIT_BYTES, left_bytes // _SHARES))

    def call(self, head: ChatRequest | EmbeddingRequest, body: bytes) -> Call:
        """A request that is not sent yet. `head.deadline_ms` counts from here."""
        return Call(self, head, body)

    @property
    def open_calls(self) -> int:
        """Calls that are not over."""
        return len(self._calls)

    @property
    def connection(self) -> int:
        """Which connection to the bus this is, counted by reconnects: what was under way over another may be lost."""
        return self.client.stats["reconnects"]

    def inbox(self, token: str) -> str:
        """Where frames for this call go."""
        return self._prefix + token

    def register(self, token: str, call: Call) -> None:
        """From now on frames for `token` go to `call`."""
        self._calls[token] = call
        self._granted_bytes += call.granted_bytes

    def forget(self, token: str) -> None:
        """Frames for `token` are dropped from now on."""
        if (call := self._calls.pop(token, None)) is not None:
            self._granted_bytes -= call.granted_bytes

    async def catch_up(self) -> bool:
        """Return when what was sent to this process so far has been handed out; False where the bus does not answer.

        This process, or the bus, may just have stood still for longer than a request waits for its acceptance. The acceptance
        is then about to come, and whoever sends the request again without having looked pays twice.
        """
        patient_until = time.monotonic() + _BUS_PATIENCE_SECONDS
        for _ in range(_CATCH_UP_ROUNDS):
            started = time.monotonic()
            flushed = asyncio.ensure_future(self._flushed())
            self._errands.add(flushed)
            flushed.add_done_callback(self._errands.discard)
            await asyncio.wait({flushed}, timeout=patient_until - started)
            if not flushed.done() or not flushed.result():
                return False
            await asyncio.sleep(_CATCH_UP_SECONDS)
            while self._inbox is not None and self._inbox.pending_msgs:  # noqa: ASYNC110 - the library has no event for it
                await asyncio.sleep(0)
            if time.monotonic() - started < 3 * _CATCH_UP_SECONDS:
                break
        return True

    async def _flushed(self) -> bool:
        """Whether the bus has answered a ping.

        nats-py breaks when the answer comes after this has given up: so that is later than the connection is given up.
        """
        try:
            await self.client.flush(timeout=_LONGER_THAN_A_CONNECTION_SECONDS)
        except (NatsError, TimeoutError, OSError):
            return False
        return True

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
