"""One process's connection to the bus: start-up guard, management requests, hot lanes, durable batches, drain.

FastStream is the frame: its broker owns the connection and the management subscribers. Hot lanes and durable batches use the
same connection directly, because the framework's pipeline costs several times the work itself there, and its batches wait
for their time-out unless they are full.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from faststream.exceptions import IncorrectState
from faststream.nats import NatsBroker, NatsMessage
from faststream.nats.security import NatsNKey
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext

from keyferry.contracts import ids
from keyferry.contracts.envelope import MalformedMessage, Message
from keyferry.contracts.service import ErrorCode, Refusal, refusal_in, refusal_reply
from keyferry.contracts.topology import Consumer, Lane, Role, Subject, inbox_prefix, reply_prefixes, worker_id
from keyferry.runtime.process.settings import (
    CannotStart,
    ServiceSettings,
    SettingsError,
    read_secret,
    without_credentials,
)

_log = logging.getLogger(__name__)

Asked = TypeVar("Asked", bound=Message)
Answer = TypeVar("Answer", bound=Message)
HotHandler = Callable[[Msg], Awaitable[None]]
BatchHandler = Callable[[list[Msg]], Awaitable[None]]

_MAX_ANSWERS = 16
"""Requests on one subject that a process answers at the same time."""
_START_UP_ROUND_TRIP_SECONDS = 0.05
"""The server reports a refused subscription a moment after the subscription itself has succeeded."""
_COMPLAIN_SECONDS = 3.0
_BATCH_SIZE = 500
_GATHER_SECONDS = 0.025
"""A pause after a batch that was not full: under load the next one is larger, and a transaction costs the same for many."""
_PULL_WAIT_SECONDS = 5.0
_REDELIVERY_DELAY_SECONDS = 2.0


class BusError(CannotStart):
    """The bus cannot be used; the message says what to do."""


class Refused(Exception):
    """An owner does not do what was asked. Raised by handlers, and by `ask` for the answer they give."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code=code, message=message)


class Bus:
    """The connection of one process. Declare with `respond`, `lane` and `pull`, then `start`; `drain` before stopping."""

    def __init__(self, role: Role, settings: ServiceSettings) -> None:
        self.role = role
        self.user = worker_id(settings.slot) if role is Role.PROVIDER_WORKER else role.value
        self.instance_id = ids.new(ids.BOOT)
        self.inbox_prefix = inbox_prefix(self.user)
        self._settings = settings
        self._permission_errors: list[str] = []
        self._hot: list[tuple[Subject, str, HotHandler]] = []
        self._pulls: list[tuple[Consumer, BatchHandler]] = []
        self._work: list[Subscription] = []
        self._pullers: list[asyncio.Task[None]] = []
        self._reconnected: list[Callable[[], None]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._leaving = False
        self.heard: list[Subject] = []
        """Everything declared, for the test that compares it with the topology."""
        self.broker = NatsBroker(
            settings.nats_url,
            security=_security(settings),
            name=f"{self.user}-{self.instance_id}",
            inbox_prefix=self.inbox_prefix,
            # A request buffered while the server is away would run after its caller gave up: fail at once instead.
            pending_size=0,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]  # nats-py takes fractions of a second
            ping_interval=10,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            apply_types=False,
            logger=None,
            graceful_timeout=settings.drain_seconds,
        )

    @property
    def client(self) -> Client:
        """The nats-py connection under the broker; only after `start`."""
        return self.broker.connection

    @property
    def jetstream(self) -> JetStreamContext:
        """A JetStream context on the same connection."""
        return self.client.jetstream()

    @property
    def connected(self) -> bool:
        """Whether the server is there now."""
        try:
            return self.client.is_connected
        except IncorrectState:  # not connected yet, or not any more
            return False

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnect."""
        self._reconnected.append(callback)

    # --- declared before the start

    def respond(self, subject: Subject, asked: type[Asked], handler: Callable[[Asked], Awaitable[Message]]) -> None:
        """Answer requests on `subject`: `handler` takes the decoded message and returns the reply.

        Several are answered at once: one that waits for a provider must not keep the others waiting.
        """
        self.heard.append(subject)
        prefixes = reply_prefixes(subject)

        async def door(message: NatsMessage) -> None:
            if not message.reply_to.startswith(prefixes):
                _log.warning("dropped a request whose answer would go astray", extra={"subject": subject.name})
                return
            data = await self._answer(subject, asked, handler, message.raw_message)
            await message.raw_message.respond(data)

        async def undecoded(message: NatsMessage) -> NatsMessage:
            return message

        subscriber = self.broker.subscriber(
            subject.pattern(), subject.queue or "", decoder=undecoded, no_reply=True, max_workers=_MAX_ANSWERS
        )
        subscriber(door)

    async def _answer(
        self, subject: Subject, asked: type[Asked], handler: Callable[[Asked], Awaitable[Message]], message: Msg
    ) -> bytes:
        try:
            question = asked.decode(message.data)
            if not subject.agrees(message.subject, question):
                raise Refused(ErrorCode.INVALID, f"the message names another tenant or owner than {message.subject}")
            return (await handler(question)).encode()
        except MalformedMessage as error:
            refusal = Refusal(code=ErrorCode.INVALID, message=error.reason)
        except Refused as error:
            refusal = error.refusal
        except Exception:  # the edge of the loop: whoever asked gets an answer, and the defect is in the log
            _log.exception("a request failed", extra={"subject": subject.name})
            refusal = Refusal(code=ErrorCode.INTERNAL, message=f"{subject.name} failed; see the log of {self.role}")
        return refusal_reply(refusal)

    def lane(self, subject: Subject, handler: HotHandler, **own: str) -> None:
        """Hear `subject` on a raw subscription. Messages come one after the other: long work belongs into `spawn`."""
        if subject.lane is not Lane.HOT:
            raise ValueError(f"{subject.name} is not a hot lane in the topology")
        self.heard.append(subject)
        self._hot.append((subject, subject.pattern(**own), handler))

    def pull(self, consumer: Consumer, subject: Subject, handler: BatchHandler) -> None:
        """Hand batches of a durable consumer to `handler`: acknowledged when it returns, offered again later when it raises."""
        self.heard.append(subject)
        self._pulls.append((consumer, handler))

    # --- life

    async def connect(self) -> None:
        """Connect, however long the server takes to come; says every few seconds what is being waited for."""
        waiting = asyncio.create_task(self._complain())
        try:
            await self.broker.connect()
        finally:
            waiting.cancel()

    async def _complain(self) -> None:
        while True:
            await asyncio.sleep(_COMPLAIN_SECONDS)
            _log.warning(
                "NATS does not answer at %s: start it (`make up` does) or set KEYFERRY_NATS_URL; trying on",
                without_credentials(self._settings.nats_url),
            )

    async def start(self, until_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Subscribe to everything declared; to work that is shared with other processes only after `until_ready()`.

        The server tells a refused subscription only asynchronously and a service would wait for ever: so ask, and raise
        BusError naming what was refused.
        """
        await self._listen([hot for hot in self._hot if not hot[0].queue])
        for consumer, batch_handler in self._pulls:
            self._pullers.append(
                asyncio.create_task(self._pull(consumer, batch_handler), name=f"pull {consumer.stream}")
            )
        if until_ready is not None:
            await until_ready()
        await self._listen([hot for hot in self._hot if hot[0].queue])

    async def _listen(self, lanes: list[tuple[Subject, str, HotHandler]]) -> None:
        for subject, pattern, handler in lanes:
            subscription = await self.client.subscribe(pattern, queue=subject.queue or "", cb=handler)
            if subject.queue:
                self._work.append(subscription)
        while self.client.pending_data_size:  # noqa: ASYNC110 - a flush overtakes what waits to be written
            await asyncio.sleep(0)
        await self.client.flush()
        await asyncio.sleep(_START_UP_ROUND_TRIP_SECONDS)
        if self._permission_errors:
            raise BusError(
                f"the bus refuses {self.user}: {'; '.join(self._permission_errors)}. The server's permissions are older or"
                " newer than this build: render and reload them (`make up` does)"
            )

    def spawn(self, work: Awaitable[None]) -> None:
        """Run `work` beside the lane that got it; `drain` waits for it."""
        self._started(work)

    def _started(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("work failed", exc_info=error)

    @property
    def in_flight(self) -> int:
        """Pieces of spawned work that are not over."""
        return len(self._running)

    async def leave(self) -> None:
        """Take no new work: leave every queue group, and empty what has already been delivered here.

        What is addressed to this process alone (control, confirmations) still comes, for the sake of what runs.
        """
        self._leaving = True
        for puller in self._pullers:
            puller.cancel()
        await asyncio.gather(*self._pullers, return_exceptions=True)
        framework = [getattr(subscriber, "subscription", None) for subscriber in self.broker.subscribers]
        for subscription in [*self._work, *filter(None, framework)]:
            with suppress(NatsError):
                await subscription.drain()
        for subscriber in self.broker.subscribers:
            if getattr(subscriber, "subscription", None) is not None:
                subscriber.subscription = None  # type: ignore[attr-defined]  # so that the framework does not unsubscribe again
        self._work.clear()

    async def finish(self, within_seconds: float) -> int:
        """Wait for spawned work; cancel what is left after `within_seconds` and return how many pieces that were."""
        if not self._running:
            return 0
        _, late = await asyncio.wait(set(self._running), timeout=within_seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=5)
        return len(late)

    # --- speaking

    async def ask(
        self, subject: Subject, question: Message, answer: type[Answer], *, timeout_seconds: float, **values: str
    ) -> Answer:
        """A management request and its answer. Raises Refused for the owner's refusal, BusError when nobody answers."""
        return await ask(self.client, subject, question, answer, timeout_seconds=timeout_seconds, **values)

    # --- inside

    async def _pull(self, consumer: Consumer, handler: BatchHandler) -> None:
        subscription = await self.jetstream.pull_subscribe_bind(consumer=consumer.durable, stream=consumer.stream)
        try:
            while not self._leaving:  # before Python 3.12, `wait_for` can lose a cancellation
                await self._pull_once(subscription, consumer, handler)
        finally:
            await _give_back(subscription)

    async def _pull_once(
        self, subscription: JetStreamContext.PullSubscription, consumer: Consumer, handler: BatchHandler
    ) -> None:
        try:
            batch = await subscription.fetch(_BATCH_SIZE, timeout=_PULL_WAIT_SECONDS)
        except (NatsTimeoutError, TimeoutError):
            return
        except NatsError as error:
            _log.warning("cannot pull", extra={"stream": consumer.stream, "error": type(error).__name__})
            await asyncio.sleep(_REDELIVERY_DELAY_SECONDS)
            return
        # Leaving cancels the puller; a batch that was begun goes on, and `finish` waits for it.
        await asyncio.shield(self._started(self._handle(consumer, handler, batch)))
        if len(batch) < _BATCH_SIZE:
            await asyncio.sleep(_GATHER_SECONDS)

    async def _handle(self, consumer: Consumer, handler: BatchHandler, batch: list[Msg]) -> None:
        try:
            await handler(batch)
        except Exception:  # the edge of the loop: nothing is acknowledged, so nothing is lost
            _log.exception(
                "a batch failed and will come again", extra={"stream": consumer.stream, "messages": len(batch)}
            )
            for message in batch:
                with suppress(NatsError):
                    await message.nak(delay=_REDELIVERY_DELAY_SECONDS)
            await asyncio.sleep(_REDELIVERY_DELAY_SECONDS)
            return
        for message in batch:
            with suppress(NatsError):  # unacknowledged, it comes again, and the reader knows it by its ids
                await message.ack()

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        refused = "permissions violation" in text.lower()
        # A refused answer is one answer less; only a refused subscription leaves a service deaf.
        if refused and "subscription" in text.lower():
            self._permission_errors.append(text)
        # While the server is away each vain attempt to reconnect is an error, several times a second: that it is away
        # was said when it went.
        if refused or self.connected:
            _log.warning("bus error", extra={"error": type(error).__name__, "detail": text})

    async def _on_disconnected(self) -> None:
        if not self._leaving:
            _log.warning("the bus is away")

    async def _on_reconnected(self) -> None:
        _log.info("the bus is back")
        for callback in self._reconnected:
            callback()


async def _give_back(subscription: JetStreamContext.PullSubscription) -> None:
    """Stop pulling, and let another process have at once what was delivered here and not taken.

    Left in the buffer, it would come again only after the consumer's `ack_wait`, and the connection's drain would wait for
    somebody to take it.
    """
    delivered = subscription._sub._pending_queue  # nats-py has no public way to what a pull subscription has buffered
    with suppress(NatsError):
        await subscription.unsubscribe()
        while not delivered.empty():
            message = delivered.get_nowait()
            if message.reply:  # the server's own status messages have none
                await message.nak()


def _security(settings: ServiceSettings) -> NatsNKey | None:
    if settings.nats_nkey_file is None:
        return None
    if settings.nats_url != without_credentials(settings.nats_url):
        raise SettingsError(
            "KEYFERRY_NATS_URL holds a user name, password or token, and KEYFERRY_NATS_NKEY_FILE names an nkey: use only one"
        )
    return NatsNKey.from_seed(read_secret(settings.nats_nkey_file).reveal())


async def ask(
    client: Client, subject: Subject, question: Message, answer: type[Answer], *, timeout_seconds: float, **values: str
) -> Answer:
    """A management request over any connection. Raises Refused, or BusError when nobody answers."""
    try:
        reply = await client.request(subject.addressed(question, **values), question.encode(), timeout=timeout_seconds)
    except NoRespondersError:
        raise BusError(
            f"nobody answers {subject.name}: is {subject.subscribers[0]} running? `keyferry doctor` tells"
        ) from None
    except (TimeoutError, NatsTimeoutError):
        raise BusError(f"no answer to {subject.name} within {timeout_seconds:g} s") from None
    if (refusal := refusal_in(reply.data)) is not None:
        raise Refused(refusal.code, refusal.message)
    return answer.decode(reply.data)
