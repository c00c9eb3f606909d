"""A router with real servers, the owners of its views, a caller, and workers that collect attempts."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from itertools import count
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, ChatRequest, EmbeddingRequest, FailedAttempt, Reroute
from keyferry.contracts.envelope import Head, Message
from keyferry.contracts.failure import Failure
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from keyferry.contracts.route import ListModels, Model, Models
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.topology import (
    ATTEMPT_RUN,
    CHAT_REQUEST,
    EMBEDDING_REQUEST,
    MODEL_LIST,
    PROVIDER_KEYS_VIEW,
    REQUEST_REROUTE,
    SERVICE_PING,
    TENANTS_VIEW,
    Bucket,
    Role,
    Subject,
    worker_id,
)
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import ViewWriter
from services.router.app import create_app
from services.router.settings import RouterSettings
from tests.support.servers.provisioned_bus import ProvisionedBus, until_subscribed
from tests.support.waiting import eventually

TIMEOUT_SECONDS = 30.0
_FAR_AWAY_UNIX_MS = 4_000_000_000_000


@dataclass(frozen=True)
class RouterServers:
    """The servers of one test, and their credentials."""

    bus: ProvisionedBus
    database_url_file: Path

    @asynccontextmanager
    async def router(
        self,
        tenants: Iterable[Tenant],
        keys: Iterable[KeyFacts],
        price_file: Path = BUNDLED_PRICES,
        *,
        listening: bool = True,
    ) -> AsyncIterator["Routing"]:
        """Run a router in this process, with these tenants and keys in its views.

        Of several routers at one bus only one may be `listening`: each attempt arrives at one worker.
        """
        await self.fill(TENANTS_VIEW, {tenant.tenant: tenant for tenant in tenants})
        await self.fill(BUDGETS_VIEW, {})
        await self.fill(PROVIDER_KEYS_VIEW, {f"{key.tenant}.{key.key_id}": key for key in keys})
        settings = RouterSettings(
            egress_allow=(IPv4Network("127.0.0.0/8"),),
            nats_url=self.bus.nats_url,
            nats_nkey_file=self.bus.seed_file(Role.ROUTER),
            database_url_file=self.database_url_file,
            drain_seconds=5,
            price_file=price_file,
            credits="off",
        )
        service = create_app(settings)
        life = asyncio.create_task(service.run())
        try:
            async with self.bus.client(Role.INGRESS) as ingress, self.bus.client(worker_id(1)) as worker:
                routing = Routing(service, ingress, worker)
                if listening:
                    await routing.listen()
                await self._until_ready(service.bus.instance_id)
                await until_subscribed(service.bus, life)
                yield routing
        finally:
            service.app.exit()
            await asyncio.wait_for(life, TIMEOUT_SECONDS)

    async def _until_ready(self, instance_id: str) -> None:
        """Return once the router reports that it is ready."""
        async with self.bus.client(Role.OPERATOR) as operator, asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                with suppress(NatsError):
                    reply = await operator.request(SERVICE_PING.format(), Ping().encode(), timeout=1)
                    report = ServiceReport.decode(reply.data)
                    if report.ready and report.instance_id == instance_id:
                        return
                await asyncio.sleep(0.02)

    async def fill(self, bucket: Bucket[Any], entries: Mapping[str, Message]) -> None:
        """Reconcile a view to these entries, as its owner would."""
        async with self.bus.client(bucket.owner) as owner:
            await ViewWriter(owner, bucket).reconcile({key: entry.encode() for key, entry in entries.items()})


@dataclass
class Routing:
    """The traffic of a router as its callers and workers see it."""

    service: Service
    ingress: Client
    worker: Client
    attempts: list[tuple[AttemptRun, bytes]] = field(default_factory=list)
    refusals: list[frames.RequestRefused] = field(default_factory=list)
    no_subscriber: bool = False
    _numbers: "count[int]" = field(default_factory=count)

    async def listen(self) -> None:
        """Subscribe to all attempts and frames."""
        await self.worker.subscribe(ATTEMPT_RUN.pattern(), queue=Role.PROVIDER_WORKER.value, cb=self._on_attempt)
        self._inbox = self.ingress.new_inbox()
        await self.ingress.subscribe(self._inbox, cb=self._on_frame)
        await self.worker.flush()
        await self.ingress.flush()

    async def wait_for_models(self, *models: str) -> dict[str, Model]:
        """Return the models of the tenant `acme`, once these are among them."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                found = await self.models()
                if set(models) <= found.keys():
                    return found
                await asyncio.sleep(0.02)

    async def models(self, **query: bool) -> dict[str, Model]:
        """Return the models of the tenant `acme`; none while no router answers."""
        question = ListModels.model_validate({"tenant": "acme", **query}).encode()
        try:
            reply = await self.ingress.request(MODEL_LIST.format(tenant="acme"), question, timeout=1)
        except NatsError:
            return {}
        return {model.id: model for model in Models.decode(reply.data).models}

    async def chat(self, model: str, **changes: object) -> tuple[AttemptRun | None, Failure | None]:
        """Send a chat request; return the attempt or the refusal."""
        head = ChatRequest.model_validate(self._head(model) | changes)
        return await self._outcome(CHAT_REQUEST.format(tenant="acme"), head)

    async def chat_unchecked(self, model: str) -> Failure:
        """Send a chat request as a program without the contracts could; return the refusal."""
        data = json.dumps(self._head(model)).encode() + b"\n{}"
        await self.ingress.publish(CHAT_REQUEST.format(tenant="acme"), data, reply=self._inbox)
        await eventually("it is refused", lambda: self.refusals)
        return self.refusals[-1].failure

    async def embed(self, model: str) -> tuple[AttemptRun | None, Failure | None]:
        """Send an embedding request; return the attempt or the refusal."""
        head = EmbeddingRequest.model_validate(self._head(model) | {"kind": "embedding"})
        return await self._outcome(EMBEDDING_REQUEST.format(tenant="acme"), head)

    async def hand_back(self, run: AttemptRun, failure: Failure) -> tuple[AttemptRun | None, Failure | None]:
        """Return an attempt as failed; return the next attempt or the refusal."""
        failed_attempts = FailedAttempt(
            attempt_id=run.attempt_id, provider=run.provider, model=run.model, key_id=run.key_id, failure=failure
        )
        changes = {
            "kind": run.kind,
            "decision_id": run.decision_id,
            "failed_attempts": [*run.failed_attempts, failed_attempts],
        }
        head = Reroute.model_validate(self._head(run.model_asked) | changes)
        return await self._outcome(REQUEST_REROUTE.format(tenant="acme"), head, publisher=self.worker)

    async def send_foreign(self, run: AttemptRun, failure: Failure, *, subject_tenant: str) -> None:
        """Send a chat, an embedding and a reroute of the tenant `acme` on the subjects of another tenant."""
        head = self._head(run.model_asked)
        failed = FailedAttempt(attempt_id=run.attempt_id, provider=run.provider, model=run.model, failure=failure)
        messages: list[tuple[Subject[Any, Any], Head, Client]] = [
            (CHAT_REQUEST, ChatRequest.model_validate(head), self.ingress),
            (EMBEDDING_REQUEST, EmbeddingRequest.model_validate(head | {"kind": "embedding"}), self.ingress),
            (
                REQUEST_REROUTE,
                Reroute.model_validate(head | {"decision_id": run.decision_id, "failed_attempts": [failed]}),
                self.worker,
            ),
        ]
        for subject, message, publisher in messages:
            data = message.with_body(b"{}")
            await publisher.publish(subject.format(tenant=subject_tenant), data, reply=self._inbox)
            await publisher.flush()

    def _head(self, model: str) -> dict[str, object]:
        return {
            "request_id": f"req_{next(self._numbers)}",
            "tenant": "acme",
            "model": model,
            "stream": False,
            "deadline_ms": 60_000,
            "start_by_unix_ms": _FAR_AWAY_UNIX_MS,
        }

    async def _outcome(
        self, subject: str, head: Head, publisher: Client | None = None
    ) -> tuple[AttemptRun | None, Failure | None]:
        attempts, refusals, self.no_subscriber = len(self.attempts), len(self.refusals), True
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self.no_subscriber:
                self.no_subscriber = False
                await (publisher or self.ingress).publish(subject, head.with_body(b'{"body":1}'), reply=self._inbox)
                while not (self.no_subscriber or len(self.attempts) > attempts or len(self.refusals) > refusals):  # noqa: ASYNC110 - what callbacks fill has no event of its own
                    await asyncio.sleep(0.005)
        if len(self.refusals) > refusals:
            return None, self.refusals[-1].failure
        run, body = self.attempts[-1]
        assert body == b'{"body":1}'
        return run, None

    async def _on_attempt(self, message: Msg) -> None:
        run, body = AttemptRun.split(message.data)
        assert message.subject == ATTEMPT_RUN.format(provider=run.provider)
        self.attempts.append((run, body))

    async def _on_frame(self, message: Msg) -> None:
        if not message.data:
            self.no_subscriber = (
                True  # the server reports that the subject has no subscriber: a router that has just started
            )
            return
        frame = frames.decode(message.data)
        assert isinstance(frame, frames.RequestRefused)
        self.refusals.append(frame)
