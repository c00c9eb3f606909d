"""Fake services on a real bus with the services' own permissions; tests script their answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from keyferry.contracts import frames
from keyferry.contracts.channels import Q, R
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.route import Decision, GetDecision
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.topology import (
    ATTEMPT_LIST,
    CHAT_REQUEST,
    DECISION_GET,
    KEK_ROTATE,
    SERVICE_PING,
    SERVICES,
    Role,
    Subject,
    worker_id,
)
from keyferry.contracts.usage import Attempts, GetAttempts, KeySource, Outcome
from keyferry.contracts.vault import KekAgeReport, KekRotation, RotateKek
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.process.settings import ServiceSettings
from tests.support.ledger.request_records import decision, ledger_row
from tests.support.servers.provisioned_bus import ProvisionedBus

Declare = Callable[[Bus], None]


@asynccontextmanager
async def process(
    bus_of: ProvisionedBus, role: Role, declare: Declare, *, slot: int = 1, waiting_for: tuple[str, ...] = ()
) -> AsyncIterator[Bus]:
    """Run a process of `role` that answers pings and what `declare` declares."""
    seed = bus_of.seed_file(worker_id(slot) if role is Role.PROVIDER_WORKER else role.value)
    bus = Bus(role, ServiceSettings(nats_url=bus_of.nats_url, nats_nkey_file=seed, slot=slot))
    report = ServiceReport(
        service=role.value,
        slot=slot,
        pid=1000 + slot,
        instance_id=bus.instance_id,
        version="1",
        ready=not waiting_for,
        waiting_for=list(waiting_for),
        facts={"unconfirmed": "0"},
    )

    async def on_ping(_: ReceivedMessage[Ping]) -> ServiceReport:
        return report

    bus.subscribe(SERVICE_PING, on_ping)
    declare(bus)
    await bus.connect()
    await bus.broker.start()
    await bus.start()
    try:
        yield bus
    finally:
        await bus.leave()
        await bus.broker.stop()


@asynccontextmanager
async def owner(
    bus_of: ProvisionedBus,
    role: Role,
    subject: Subject[Q, R],
    answer: Callable[[Q], Awaitable[R]],
) -> AsyncIterator[Bus]:
    """Run a process of `role` that answers one kind of management request."""
    async with process(bus_of, role, lambda bus: bus.respond(subject, answer)) as bus:
        yield bus


@asynccontextmanager
async def whole_system(
    bus_of: ProvisionedBus,
    *,
    waiting: Role | None = None,
    without: Role | None = None,
    ledger_lags: int = 0,
    kek_days: int = 1,
) -> AsyncIterator[None]:
    """Every service in every slot: the router echoes chats itself, the ledger reports them after `ledger_lags` requests.

    The vault's KEK is so many days old; from ninety on it is overdue.
    """
    declared: dict[Role, Declare] = {
        Role.ROUTER: _answer_chats,
        Role.USAGE_LEDGER: lambda bus: _answer_traces(bus, ledger_lags),
        Role.KEY_VAULT: lambda bus: _answer_rotation(bus, kek_days),
    }
    async with AsyncExitStack() as stack:
        for role in SERVICES:
            for slot in (1, 2) if role is Role.PROVIDER_WORKER else (1,):
                if role is without:
                    continue
                missing = ("the tenants view",) if role is waiting else ()
                declare = declared.get(role, _nothing_more)
                await stack.enter_async_context(process(bus_of, role, declare, slot=slot, waiting_for=missing))
        yield


def _nothing_more(_: Bus) -> None:
    """It only reports itself."""


def _answer_chats(bus: Bus) -> None:
    async def on_chat(received: ReceivedMessage[ChatRequest]) -> None:
        for frame in _answer(received.message, received.body):
            await bus.client.publish(received.reply_to, frame)

    bus.subscribe(CHAT_REQUEST, on_chat)


def _answer(head: ChatRequest, body: bytes) -> list[bytes]:
    accepted = frames.Accepted(
        attempt_id="att_1",
        instance_id="inst_1",
        attempt_number=1,
        decision_id="dec_1",
        provider="echo",
        model="echo",
        key_source=KeySource.NONE,
    )
    text = body.partition(b'"content": "')[2].partition(b'"')[0]
    end = frames.End(attempt_id="att_1", outcome=Outcome.COMPLETED, count=0)
    if not head.stream:
        whole = b'{"model":"echo","choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}' % text
        return [accepted.to_frame(), end.model_copy(update={"payload": whole}).to_frame()]
    chunk = b'{"model":"echo","choices":[{"delta":{"content":"%b"},"finish_reason":null}]}'
    last = b'{"model":"echo","choices":[{"delta":{},"finish_reason":"stop"}]}'
    half = len(text) // 2
    pieces = [chunk % text[:half] + b"\n" + chunk % text[half:], last]
    return [
        accepted.to_frame(),
        *(frames.data_frame("att_1", seq, piece) for seq, piece in enumerate(pieces, start=1)),
        end.model_copy(update={"count": len(pieces)}).to_frame(),
    ]


def _answer_rotation(bus: Bus, age_days: int) -> None:
    async def rotation(request: RotateKek) -> KekRotation:
        assert not request.start, "the doctor must not start a rotation"
        since = datetime.now(UTC) - timedelta(days=age_days)
        kek = KekAgeReport(kek="k1", since=since, age_days=age_days, overdue=age_days >= 90, detail="as the test says")
        return KekRotation(primary="k1", total=1, left=0, running=False, by_kek={"k1": 1}, oldest_kek=kek)

    bus.respond(KEK_ROTATE, rotation)


def _answer_traces(bus: Bus, lags: int) -> None:
    asked_of: list[str] = []

    async def get_decision(question: GetDecision) -> Decision:
        asked_of.append(question.request_id)
        if len(asked_of) <= lags:
            return Decision()
        return Decision(record=decision(request_id=question.request_id, decided_at=datetime.now(UTC)))

    async def list_attempts(question: GetAttempts) -> Attempts:
        return Attempts(rows=[ledger_row(request_id=question.request_id)] if len(asked_of) > lags else [])

    bus.respond(DECISION_GET, get_decision)
    bus.respond(ATTEMPT_LIST, list_attempts)
