"""An answer goes to an inbox of somebody who may ask, or nowhere.

NATS does not check a publisher's right to the reply subject that it names, and lets a responder answer there. So a caller could
have a responder write into a stream, a bucket or another's inbox, if the responder did not look.
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deploy.postgres.migrate import migrate
from keyferry.contracts import topology
from keyferry.contracts.chat import AttemptRun, ChatRequest, EmbeddingRequest, FailedAttempt, Probe, Reroute
from keyferry.contracts.envelope import Message
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from keyferry.contracts.route import ListEndpoints, ListModels
from keyferry.contracts.service import ErrorCode, Ping, ServiceReport
from keyferry.contracts.tenancy import ListTenants
from keyferry.contracts.topology import FRAME_INBOXES, SUBJECTS, AnySubject, Role, SubjectKind, inbox_prefix
from keyferry.contracts.users import CALLER_INBOX
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import ServiceSettings
from keyferry.runtime.views import ViewWriter
from services.provider_worker import app as provider_worker
from services.provider_worker.settings import ProviderWorkerSettings
from services.router import app as router
from services.router.settings import RouterSettings
from services.tenant_directory import app as tenant_directory
from services.tenant_directory.settings import DirectorySettings
from tests.integration.permissions.access import CLIENTS, USERS, Connection
from tests.integration.permissions.watcher import WATCH_SECONDS, Watcher, watching
from tests.support.providers.attempt_runs import attempt_run
from tests.support.servers.postgres import shared_postgres
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus, until_subscribed

DISALLOWED_REPLIES = (
    *(f"{inbox_prefix(user)}.{{token}}.1" for user in USERS),
    *(f"{prefix}x.{{token}}.1" for prefix in (topology.INGRESS_INBOX, CALLER_INBOX)),
    "_INBOX.{token}.1",
    "kf.v1.attempt.finished.{token}",
    "kf.v1.attempt.run.{token}",
    "$KV.tenants.{token}",
    "$JS.API.STREAM.PURGE.{token}",
    "some.{token}",
)
"""Inboxes of every user, subjects that look like inboxes, a stream, a bucket, JetStream itself.

`{token}` makes them new for each question. NATS lets a responder publish once to a reply subject, and counts a second delivery
with the same one as that publication: of two questions with the same reply subjects, only the first could show a wrong answer.
"""
MANAGED = [subject for subject in SUBJECTS if subject.kind is SubjectKind.REQUEST and not subject.fast_path]
FORWARDED = (topology.ATTEMPT_RUN, topology.REQUEST_REROUTE)
"""Their answers go to the original caller, not to their publisher."""
CHAT = {
    "request_id": "req_test",
    "tenant": "acme",
    "model": "echo",
    "stream": False,
    "deadline_ms": 60_000,
    "start_by_unix_ms": 2_000_000_000_000,
}
BODY = b'{"model": "echo", "messages": [{"role": "user", "content": "hello"}]}'


@dataclass(frozen=True)
class Question:
    """A message that its publisher may send and that is answered."""

    subject: AnySubject
    publisher: str
    at: str
    data: bytes

    def disallowed_replies(self) -> list[str]:
        """Return new reply subjects that must get no answer."""
        token = secrets.token_hex(8)
        return [reply.format(token=token) for reply in DISALLOWED_REPLIES if not reply.startswith(self.own())]

    def own(self) -> tuple[str, ...]:
        """Return the allowed inbox prefixes; a forwarded request still belongs to its caller."""
        if self.subject in FORWARDED:
            return FRAME_INBOXES
        roles = [user for user in USERS if topology.role_of(user) in self.subject.publishers]
        return tuple(f"{inbox_prefix(user)}." for user in roles)

    def proper(self) -> str:
        """Return an inbox that gets the answer."""
        asker = Role.OPERATOR if self.subject in FORWARDED else self.publisher
        return f"{inbox_prefix(asker)}.{secrets.token_hex(8)}.1"


async def ask_with_every_reply_subject(bus: ProvisionedBus, watcher: Watcher, question: Question) -> None:
    """Send the question with every disallowed reply subject, then with an allowed one, which is answered last."""
    disallowed = question.disallowed_replies()
    async with Connection(bus, question.publisher) as connection:
        for reply in disallowed:
            await connection.client.publish(question.at, question.data, reply=reply)
        proper = question.proper()
        await connection.client.publish(question.at, question.data, reply=proper)
        await watcher.wait_for_message(proper)
        assert await connection.refusals() == []
    leaked = {reply: watcher.received[reply] for reply in disallowed if reply in watcher.received}
    assert not leaked


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path, internal_clients=CLIENTS) as found:
        yield found


async def test_management_requests_are_answered_only_to_allowed_inboxes(bus: ProvisionedBus) -> None:
    async def refuse(message: Message) -> Message:
        raise Refused(ErrorCode.CONFLICT, "an answer")

    async with AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(watching(bus))
        for role in dict.fromkeys(itertools.chain.from_iterable(subject.subscribers for subject in MANAGED)):
            user = topology.worker_id(1) if role is Role.PROVIDER_WORKER else role.value
            responder = Bus(role, ServiceSettings(nats_url=bus.nats_url, nats_nkey_file=bus.seed_file(user), slot=1))
            for subject in MANAGED:
                if role in subject.subscribers:
                    assert issubclass(subject.message, Message)
                    responder.respond(subject, refuse)
            await responder.connect()
            stack.push_async_callback(responder.broker.stop)
            await responder.broker.start()
            await responder.start()
        for subject in MANAGED:
            for publisher in (user for user in USERS if topology.role_of(user) in subject.publishers):
                tenant = topology.tenant_of(publisher) or "acme"
                placeholders = dict.fromkeys(("provider", "instance", "router", "service"), "something") | {
                    "worker": publisher
                }
                at = subject.format(**placeholders, tenant=tenant)
                await ask_with_every_reply_subject(bus, watcher, Question(subject, publisher, at, b"{}"))


QUESTIONS = (
    Question(topology.TENANT_LIST, Role.OPERATOR, topology.TENANT_LIST.format(), ListTenants().encode()),
    Question(
        topology.ENDPOINT_LIST, Role.OPERATOR, topology.ENDPOINT_LIST.format(), ListEndpoints(tenant="acme").encode()
    ),
    Question(
        topology.MODEL_LIST, Role.INGRESS, topology.MODEL_LIST.format(tenant="acme"), ListModels(tenant="acme").encode()
    ),
    Question(topology.SERVICE_PING, Role.OPERATOR, topology.SERVICE_PING.format(), Ping().encode()),
    Question(
        topology.WORKER_PROBE,
        CLIENTS[0],
        "kf.v1.worker.probe.{instance}",
        Probe(attempt_ids=["att_test"]).encode(),
    ),
    Question(topology.KEY_TEST_RUN, Role.KEY_VAULT, topology.KEY_TEST_RUN.format(worker="provider-worker-1"), b"{}"),
    Question(
        topology.EMBEDDING_REQUEST,
        CLIENTS[0],
        topology.EMBEDDING_REQUEST.format(tenant="acme"),
        EmbeddingRequest.model_validate(CHAT).with_body(b'{"model": "echo", "input": "hello"}'),
    ),
    Question(
        topology.CHAT_REQUEST,
        CLIENTS[0],
        topology.CHAT_REQUEST.format(tenant="acme"),
        ChatRequest.model_validate(CHAT).with_body(BODY),
    ),
    Question(
        topology.REQUEST_REROUTE,
        "provider-worker-2",
        topology.REQUEST_REROUTE.format(tenant="acme"),
        Reroute(
            **CHAT,
            decision_id="dec_test",
            failed_attempts=[
                FailedAttempt(
                    attempt_id="att_test",
                    provider="echo",
                    model="echo",
                    failure=Failure(failure_class=FailureClass.OVERLOADED, message="busy"),
                )
            ],
        ).with_body(BODY),
    ),
    Question(
        topology.ATTEMPT_RUN,
        Role.ROUTER,
        topology.ATTEMPT_RUN.format(provider="echo"),
        attempt_run(model="echo", base_url=None).model_copy(update={"provider": "echo"}).with_body(BODY),
    ),
)


async def test_real_services_answer_only_to_allowed_inboxes(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with watching(bus) as watcher, running(bus, tmp_path, watcher) as worker:
        for question in QUESTIONS:
            at = question.at.format(instance=worker.bus.instance_id)
            asked = Question(question.subject, question.publisher, at, question.data)
            await ask_with_every_reply_subject(bus, watcher, asked)


def test_every_answered_subject_is_covered() -> None:
    """Every subject that these three services answer is tried, except management requests, which share one middleware."""
    roles = {Role.ROUTER, Role.TENANT_DIRECTORY, Role.PROVIDER_WORKER}
    asked = {question.subject for question in QUESTIONS}
    for subject in SUBJECTS:
        answered = subject.reply is not None or subject.message in (ChatRequest, EmbeddingRequest, Reroute, AttemptRun)
        if roles.intersection(subject.subscribers) and answered and subject not in MANAGED:
            assert subject in asked, subject.name


@asynccontextmanager
async def running(bus: ProvisionedBus, directory: Path, watcher: Watcher) -> AsyncIterator[Service]:
    """Run the real tenant directory, router and worker until they are ready, and return the worker."""
    url_files = migrate(
        shared_postgres(synced=False).new_database(), directory / "database", services=["tenant_directory", "router"]
    )
    pepper_file = directory / "pepper"
    pepper_file.write_text("a-pepper-for-tests-and-for-nothing-else")
    (directory / "spool").mkdir()
    worker = provider_worker.create_app(
        ProviderWorkerSettings(
            nats_url=bus.nats_url,
            nats_nkey_file=bus.seed_file("provider-worker-1"),
            spool_dir=directory / "spool",
            drain_seconds=5,
        )
    )
    services = (
        tenant_directory.create_app(
            DirectorySettings(
                nats_url=bus.nats_url,
                nats_nkey_file=bus.seed_file(Role.TENANT_DIRECTORY),
                database_url_file=url_files["tenant_directory"],
                token_pepper_file=pepper_file,
                drain_seconds=5,
            )
        ),
        router.create_app(
            RouterSettings(
                egress_allow=(IPv4Network("127.0.0.0/8"),),
                nats_url=bus.nats_url,
                nats_nkey_file=bus.seed_file(Role.ROUTER),
                database_url_file=url_files["router"],
                drain_seconds=5,
            )
        ),
        worker,
    )
    async with bus.client(Role.KEY_VAULT) as vault:
        # The router waits for the vault's first view, and there is no vault here.
        await ViewWriter(vault, topology.PROVIDER_KEYS_VIEW).reconcile({})
    async with bus.client(Role.USAGE_LEDGER) as ledger:
        await ViewWriter(ledger, BUDGETS_VIEW).reconcile({})
    runs = [asyncio.create_task(service.run()) for service in services]
    try:
        await _ready(watcher, {service.bus.instance_id for service in services})
        for service, life in zip(services, runs, strict=True):
            await until_subscribed(service.bus, life)
        yield worker
    finally:
        for service in services:
            service.app.exit()
        await asyncio.wait_for(asyncio.gather(*runs), WATCH_SECONDS)


async def _ready(watcher: Watcher, instance_ids: set[str]) -> None:
    """Ping until each of these reports that it is ready."""
    inbox = f"{inbox_prefix(Role.OPERATOR)}.ready.1"
    async with asyncio.timeout(WATCH_SECONDS):
        while True:
            reports = map(ServiceReport.decode, watcher.received[inbox])
            if instance_ids <= {report.instance_id for report in reports if report.ready}:
                return
            await watcher.client.publish(topology.SERVICE_PING.format(), Ping().encode(), reply=inbox)
            await asyncio.sleep(0.05)
