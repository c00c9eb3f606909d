"""One process's connection to the bus: declaration, start-up guard, subscriptions, drain.

FastStream's broker owns the connection and the subscribers of management requests. Fast-path subscriptions and durable
batches use the same connection directly, because the framework's pipeline costs several times the work itself there.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from faststream.exceptions import IncorrectState
from faststream.nats import NatsBroker
from faststream.nats.security import NatsNKey, NatsSecurity
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from keyferry.contracts import ids
from keyferry.contracts.channels import Q, R
from keyferry.contracts.streams import consumers_of_rest
from keyferry.contracts.topology import AnySubject, Consumer, Role, Subject, consumer_of, inbox_prefix, worker_id
from keyferry.runtime.bus.client import BusClient
from keyferry.runtime.bus.dispatch import RawHandler, ReceivedMessage, receiver
from keyferry.runtime.bus.pulling import LINGER_SECONDS, BatchHandler, Puller
from keyferry.runtime.bus.replies import ReplyMiddleware
from keyferry.runtime.bus.requests import BusError, ask
from keyferry.runtime.bus.server_watch import ServerWatch
from keyferry.runtime.bus.servers import bus_tls, describe_tls_error, ping_seconds, server_urls
from keyferry.runtime.lost_reads import repeat_lost_read
from keyferry.runtime.process.settings import ServiceSettings, SettingsError, read_nkey_seed, without_credentials
from keyferry.runtime.tenant_scope import tenant_scope
from keyferry.runtime.tls.certificates import UnusableCertificate
from keyferry.runtime.tls.context import ReloadingContext
from keyferry.runtime.tracing.telemetry import Telemetry

_log = logging.getLogger(__name__)

_MAX_ANSWERS = 16
"""Requests on one subject that a process answers at the same time."""
_START_UP_ROUND_TRIP_SECONDS = 0.05
"""The server reports a refused subscription a moment after the subscription itself has succeeded."""
_COMPLAIN_SECONDS = 3.0


def _in_scope(handler: Callable[[Q], Awaitable[R]]) -> Callable[[Q], Awaitable[R]]:
    async def handle(message: Q) -> R:
        with tenant_scope(getattr(message, "tenant", None)):
            return await handler(message)

    return handle


class _RawSubscription(NamedTuple):
    pattern: str
    queue: str | None
    callback: RawHandler


class _Broker(NatsBroker):
    """FastStream's broker over our client."""

    async def _connect(self) -> Client:
        client = BusClient()
        await client.connect(**self._connection_kwargs)
        self.config.connect(client)
        return client


class Bus:
    """The connection of one process.

    Declare with `respond`, `subscribe` and `pull`, then `start`; `leave` and `finish` before stopping.
    """

    def __init__(self, role: Role, settings: ServiceSettings, telemetry: Telemetry | None = None) -> None:
        self.role = role
        self._telemetry = telemetry
        self.user = worker_id(settings.slot) if role is Role.PROVIDER_WORKER else role.value
        self.instance_id = ids.new(ids.INSTANCE)
        self.inbox_prefix = inbox_prefix(self.user)
        self._settings = settings
        self._permission_errors: list[str] = []
        self._raw: list[_RawSubscription] = []
        self._queue_subscriptions: list[Subscription] = []
        self._pullers: list[Puller] = []
        self._reconnected: list[Callable[[], None]] = []
        self.reconnects = 0
        """How often the connection came back."""
        self.alerts: list[Callable[[], list[str]]] = []
        """Return what an operator has to attend to, for the report of the process."""
        self._running: set[asyncio.Task[None]] = set()
        self._leaving = False
        self.subscriptions: list[AnySubject] = []
        """Every subject declared, for the test that compares them with the topology."""
        self.beyond_tenants: dict[str, str] = {}
        """Subjects that are answered beyond the scope of the tenant that they name, each with the reason."""
        self._replies = ReplyMiddleware(role, lambda reply_to, data: self.client.publish(reply_to, data), telemetry)
        servers = server_urls(settings.nats_url)
        # In an order of its own, so that the next server is another one, and processes spread over all of them.
        servers = random.sample(servers, len(servers))
        self._watch = ServerWatch(lambda: self.client, f"{self.inbox_prefix}.{self.instance_id}.servers", len(servers))
        self._watching: asyncio.Task[None] | None = None
        self.tls = _tls(settings)
        """How connections are secured; None without TLS."""
        self._tls_problem: str | None = None
        self.certificates: dict[str, ReloadingContext] = {}
        """What the process secures its connections with, by their use."""
        self.watch_certificate("nats", self.tls)
        self.broker = self._make_broker(settings, servers)

    def _make_broker(self, settings: ServiceSettings, servers: list[str]) -> NatsBroker:
        return _Broker(
            servers,
            security=_security(settings, self.tls),
            name=f"{self.user}-{self.instance_id}",
            inbox_prefix=self.inbox_prefix,
            # A request buffered while the server is away would run after its caller gave up: fail at once instead.
            pending_size=0,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]  # nats-py takes fractions of a second
            ping_interval=ping_seconds(servers),
            dont_randomize=True,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            middlewares=[self._replies],
            apply_types=False,
            logger=None,
            graceful_timeout=settings.drain_seconds,
        )

    @property
    def client(self) -> Client:
        """The nats-py connection of the broker; only after `connect`."""
        return self.broker.connection

    @property
    def jetstream(self) -> JetStreamContext:
        """A JetStream context on the same connection."""
        return self.client.jetstream()

    @property
    def connected(self) -> bool:
        """Whether the connection is up now."""
        try:
            return self.client.is_connected
        except IncorrectState:  # not connected yet, or not any more
            return False

    @property
    def obstacle(self) -> str | None:
        """Why there is no connection, where the reason is one that an operator has to remove."""
        return None if self.connected else self._tls_problem

    def watch_certificate(self, use: str, context: ReloadingContext | None) -> None:
        """Report files that cannot be used and certificates that end soon; None is none."""
        if context is not None:
            self.certificates[use] = context
            self.alerts.append(context.problems)

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnect."""
        self._reconnected.append(callback)

    @property
    def consumers(self) -> list[Consumer]:
        """The consumers that this process pulls."""
        return [puller.consumer for puller in self._pullers]

    # --- declared before the start

    def respond(
        self, subject: Subject[Q, R], handler: Callable[[Q], Awaitable[R]], *, all_tenants: str | None = None
    ) -> None:
        """Answer requests on `subject` with what `handler` returns for the decoded message.

        Several are answered at once: one that waits for a provider must not block the others. A request that names a tenant is
        handled in that tenant's scope, where the database has no other tenant's rows; `all_tenants` is the reason why one
        is not. One that only reads is handled once more if it loses its connection to the database.
        """
        if subject.only_reads:
            handler = repeat_lost_read(handler, subject.name)
        self.subscriptions.append(subject)
        subscriber = self.broker.subscriber(
            subject.pattern(),
            subject.queue or "",
            decoder=self._replies.decoder(subject),
            no_reply=True,
            max_workers=_MAX_ANSWERS,
        )
        if all_tenants is not None:
            self.beyond_tenants[subject.name] = all_tenants
        subscriber(handler if all_tenants is not None else _in_scope(handler))

    def subscribe(
        self, subject: Subject[Q, R], handler: Callable[[ReceivedMessage[Q]], Awaitable[R]], **placeholders: str
    ) -> None:
        """Subscribe to a subject of the fast path, with wildcards for placeholders that are not given.

        Requests are answered side by side with what `handler` returns. Other messages are handled one after the other:
        long work belongs into `spawn`.
        """
        if not subject.fast_path:
            raise ValueError(f"{subject.name} is not on the fast path in the topology")
        self.subscriptions.append(subject)
        callback = receiver(subject, handler, self.spawn, self.role, self._telemetry)
        self._raw.append(_RawSubscription(subject.pattern(**placeholders), subject.queue, callback))

    def pull(
        self,
        subject: AnySubject,
        handler: BatchHandler,
        *others: AnySubject,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        """Hand batches from this role's consumer to `handler`. Messages of `others` come through the same consumer.

        A batch is acknowledged when it returns, and delivered again later when it raises. After one that was not full the next
        is asked for `linger_seconds` later.
        """
        self.subscriptions += [subject, *others]
        self._pullers.append(Puller(consumer_of(self.role, subject), handler, self._start_work, linger_seconds))

    def pull_rest(self, subject: AnySubject, handler: BatchHandler) -> None:
        """Hand what is left of `subject` in the streams that earlier builds stored it in to `handler`, as `pull` does."""
        for consumer in consumers_of_rest(self.role, subject):
            self._pullers.append(Puller(consumer, handler, self._start_work))

    # --- life cycle

    async def connect(self) -> None:
        """Connect, however long the server takes to start; log every few seconds what is being waited for."""
        waiting = asyncio.create_task(self._complain())
        try:
            await self.broker.connect()
        finally:
            waiting.cancel()
        if len(server_urls(self._settings.nats_url)) > 1:
            self._watching = asyncio.create_task(self._watch.run(), name="watch of the NATS servers")

    async def _complain(self) -> None:
        while True:
            await asyncio.sleep(_COMPLAIN_SECONDS)
            where = without_credentials(self._settings.nats_url)
            if self._tls_problem is not None:
                _log.warning("NATS at %s cannot be used: %s; retrying", where, self._tls_problem)
                continue
            _log.warning(
                "NATS does not answer at %s: start it (`make up` does) or set KEYFERRY_NATS_URL; retrying", where
            )

    async def start(self, until_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Subscribe to everything declared; to subjects shared with other processes only after `until_ready()`.

        The server reports a refused subscription only asynchronously, and a service would wait for ever. So wait for the
        report, and raise BusError naming what was refused.
        """
        await self._listen([raw for raw in self._raw if not raw.queue])
        for puller in self._pullers:
            puller.start(self.jetstream)
        if until_ready is not None:
            await until_ready()
        await self._listen([raw for raw in self._raw if raw.queue])

    async def _listen(self, raw_subscriptions: list[_RawSubscription]) -> None:
        for raw in raw_subscriptions:
            subscription = await self.client.subscribe(raw.pattern, queue=raw.queue or "", cb=raw.callback)
            if raw.queue:
                self._queue_subscriptions.append(subscription)
        while self.client.pending_data_size:  # noqa: ASYNC110 - a flush overtakes what waits to be written
            await asyncio.sleep(0)
        await self.client.flush()
        await asyncio.sleep(_START_UP_ROUND_TRIP_SECONDS)
        if self._permission_errors:
            raise BusError(
                f"NATS denies {self.user} a subscription: {'; '.join(self._permission_errors)}. The server's permissions come"
                " from another build: render and reload them (`make up` does)"
            )

    def spawn(self, work: Awaitable[None]) -> None:
        """Run `work` beside the subscription that received it; `finish` waits for it."""
        self._start_work(work)

    def _start_work(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._forget_work)
        return task

    def _forget_work(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("work failed", exc_info=error)

    @property
    def in_flight(self) -> int:
        """Number of spawned tasks that are still running."""
        return len(self._running)

    async def leave(self) -> None:
        """Take no new work: leave every queue group, and handle what has already been delivered here.

        Messages to this process alone (control, confirmations) still arrive, since running work needs them.
        """
        self._leaving = True
        await asyncio.gather(*(puller.stop() for puller in self._pullers))
        framework = [getattr(subscriber, "subscription", None) for subscriber in self.broker.subscribers]
        for subscription in [*self._queue_subscriptions, *filter(None, framework)]:
            with suppress(NatsError):
                await subscription.drain()
        for subscriber in self.broker.subscribers:
            if getattr(subscriber, "subscription", None) is not None:
                subscriber.subscription = None  # type: ignore[attr-defined]  # so that the framework does not unsubscribe again
        self._queue_subscriptions.clear()

    async def finish(self, within_seconds: float) -> int:
        """Wait for spawned work; cancel what is left after `within_seconds` and return the number of tasks cancelled."""
        if not self._running:
            return 0
        _, late = await asyncio.wait(set(self._running), timeout=within_seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=5)
        return len(late)

    async def ask(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float, **values: str) -> R:
        """Send a request and return its reply. Raises Refused for the owner's refusal, BusError when nothing answers."""
        return await ask(self.client, subject, question, timeout_seconds=timeout_seconds, **values)

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        if self.tls is not None and not self.connected:
            self._note_handshake(error)
        refused = "permissions violation" in text.lower()
        # A refused publish loses one message; a refused subscription leaves a service without any.
        if refused and "subscription" in text.lower():
            self._permission_errors.append(text)
        # While the server is down, every failed attempt to reconnect is an error, several times a second. The loss of the
        # connection has been logged already.
        if refused or self.connected:
            _log.warning("bus error", extra={"error": type(error).__name__, "detail": text})

    def _note_handshake(self, error: Exception) -> None:
        """Remember why TLS fails, and log each reason once."""
        problem = describe_tls_error(error)
        if problem is not None and problem != self._tls_problem:
            _log.warning("NATS cannot be used: %s", problem)
        self._tls_problem = problem or self._tls_problem

    async def _on_disconnected(self) -> None:
        if not self._leaving:
            _log.warning("disconnected from NATS")

    async def _on_reconnected(self) -> None:
        self._tls_problem = None
        _log.info("reconnected to NATS")
        self.reconnects += 1
        for callback in self._reconnected:
            callback()


def _tls(settings: ServiceSettings) -> ReloadingContext | None:
    try:
        return bus_tls(
            server_urls(settings.nats_url), settings.nats_ca_file, settings.nats_cert_file, settings.nats_key_file
        )
    except UnusableCertificate as error:
        raise SettingsError(f"TLS to NATS: {error}") from None


def _security(settings: ServiceSettings, tls: ReloadingContext | None) -> NatsSecurity | None:
    # The handshake comes before the server's greeting, which could be a forged one without TLS.
    first = tls is not None
    if settings.nats_nkey_file is None:
        return NatsSecurity(ssl_context=tls, use_ssl=first, tls_handshake_first=first)
    if any(url != without_credentials(url) for url in server_urls(settings.nats_url)):
        raise SettingsError(
            "KEYFERRY_NATS_URL holds a user name, password or token, and KEYFERRY_NATS_NKEY_FILE names an nkey: use only one"
        )
    seed = read_nkey_seed(settings.nats_nkey_file).reveal()
    return NatsNKey.from_seed(seed, ssl_context=tls, use_ssl=first, tls_handshake_first=first)
