"""The reply inbox of a process: one wildcard subscription for the frames of all its calls."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from keyferry.contracts.chat import DEFAULT_CREDIT_BYTES, ChatRequest, EmbeddingRequest
from keyferry.runtime.request.backlog import Backlog
from keyferry.runtime.request.call import Call
from keyferry.runtime.request.liveness import LivenessWatch
from keyferry.runtime.tracing.span import Span
from keyferry.sealing.grant import GrantSigner

MAX_CREDIT_BYTES = 16 * 1024 * 1024
"""Granted by one process in all: what may queue in the server's buffer for it (64 MB) without a disconnect."""
MIN_CREDIT_BYTES = 4 * 1024
_SHARES = 16
_CATCH_UP_SECONDS = 0.05
"""Within this time of the bus's own answer, everything that was under way to it from others arrives."""
_CATCH_UP_ROUNDS = 3
_BUS_TIMEOUT_SECONDS = 5.0
_LONGER_THAN_A_CONNECTION_SECONDS = 60
_NO_RESPONDERS = "503"


class CallInbox:
    """The process's one wildcard inbox. Tokens are unguessable, since others may publish to the prefix.

    `grants` signs for each request; without it, the vault releases no key for any of them.
    """

    def __init__(self, client: Client, inbox_prefix: str, instance_id: str, grants: GrantSigner | None = None) -> None:
        self.client = client
        self._grants = grants
        self._prefix = f"{inbox_prefix}.{instance_id}."
        self._calls: dict[str, Call] = {}
        self._granted_bytes = 0
        self.backlog = Backlog()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._liveness = LivenessWatch(client, self._calls)
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Subscribe the inbox, and begin to watch the workers' liveness."""
        self._subscription = await self.client.subscribe(f"{self._prefix}*", cb=self._on_frame)
        self._liveness.start()

    async def stop(self) -> None:
        """Stop watching; open calls end by their deadlines."""
        await self._liveness.stop()

    def lose_all(self, why: str) -> None:
        """Fail every open call, and cancel it at its worker: the process cannot wait any longer."""
        for call in list(self._calls.values()):
            call.lose(why)

    def next_credit_bytes(self) -> int:
        """Return what a new call grants at first: a share of what is left, so that all calls stay within MAX_CREDIT_BYTES.

        A call gets at least MIN_CREDIT_BYTES, without which it could not proceed.
        """
        left_bytes = MAX_CREDIT_BYTES - self._granted_bytes
        return max(MIN_CREDIT_BYTES, min(DEFAULT_CREDIT_BYTES, left_bytes // _SHARES))

    def call(self, head: ChatRequest | EmbeddingRequest, body: bytes, span: Span | None = None) -> Call:
        """Return a request that is not sent yet, as a part of `span`. `head.deadline_ms` counts from here."""
        if self._grants is not None:
            grant = self._grants.sign(
                head.tenant,
                head.request_id,
                body,
                now_unix_ms=time.time_ns() // 1_000_000,
                lasts_ms=head.deadline_ms,
            )
            head = head.model_copy(update={"grant": grant})
        return Call(self, head, body, span)

    @property
    def open_calls(self) -> int:
        """Number of calls that have not ended."""
        return len(self._calls)

    @property
    def connection(self) -> int:
        """Number of reconnects: what was under way over an earlier connection may be lost."""
        return self.client.stats["reconnects"]

    def subject(self, token: str) -> str:
        """Return the subject for the frames of one call."""
        return self._prefix + token

    def register(self, token: str, call: Call) -> None:
        """Deliver frames for `token` to `call` from now on."""
        self._calls[token] = call
        self.backlog.add(token, call.tenant, time.monotonic())
        self._granted_bytes += call.granted_bytes

    def unregister(self, token: str) -> None:
        """Drop frames for `token` from now on."""
        self.backlog.remove(token)
        if (call := self._calls.pop(token, None)) is not None:
            self._granted_bytes -= call.granted_bytes

    async def catch_up(self) -> bool:
        """Wait until everything sent to this process so far has been delivered; return False if the bus does not answer.

        This process, or the bus, may have stood still for longer than a request waits for its acceptance. The acceptance is
        then about to arrive, and sending the request again without looking would pay twice.
        """
        give_up_at = time.monotonic() + _BUS_TIMEOUT_SECONDS
        for _ in range(_CATCH_UP_ROUNDS):
            started = time.monotonic()
            flushed = asyncio.ensure_future(self._flush())
            self._tasks.add(flushed)
            flushed.add_done_callback(self._tasks.discard)
            await asyncio.wait({flushed}, timeout=give_up_at - started)
            if not flushed.done() or not flushed.result():
                return False
            await asyncio.sleep(_CATCH_UP_SECONDS)
            while self._subscription is not None and self._subscription.pending_msgs:  # noqa: ASYNC110 - nats-py has no event for it
                await asyncio.sleep(0)
            if time.monotonic() - started < 3 * _CATCH_UP_SECONDS:
                break
        return True

    async def _flush(self) -> bool:
        """Return whether the bus answers a ping.

        nats-py breaks when the answer comes after the timeout, so the timeout is longer than a dead connection is kept.
        """
        try:
            await self.client.flush(timeout=_LONGER_THAN_A_CONNECTION_SECONDS)
        except (NatsError, TimeoutError, OSError):
            return False
        return True

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end, independently of its caller."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_frame(self, message: Msg) -> None:
        token = message.subject[len(self._prefix) :]
        call = self._calls.get(token)
        if call is None:
            return
        self.backlog.remove(token)
        if not message.data and message.headers and message.headers.get("Status") == _NO_RESPONDERS:
            call.deliver(None)
        else:
            call.deliver(message.data)
