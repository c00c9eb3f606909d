"""Connecting to a real bus with the deployed permissions, losing the connection and closing it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from keyferry.client import BadRequest, Cancelled, CannotConnect, ModelNotFound, Unavailable, connect
from keyferry.contracts import frames
from keyferry.contracts.chat import ChatRequest, Control, ControlKind
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.route import ListModels, Model, Models
from keyferry.contracts.service import ErrorCode, Refusal, refusal_in, refusal_reply
from keyferry.contracts.topology import CHAT_REQUEST, MODEL_LIST, WORKER_CONTROL, Role, internal_client, worker_id
from keyferry.contracts.usage import KeySource
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

CRM, OTHER = internal_client("acme", "crm"), internal_client("other", "crm")
HELLO = [{"role": "user", "content": "hello"}]
INSTANCE = "inst_test"


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path, internal_clients=[CRM, OTHER]) as found:
        yield found


def crm(bus: ProvisionedBus, **changes: object) -> dict[str, object]:
    return {"tenant": "acme", "name": "crm", "nkey_file": bus.seed_file(CRM), **changes}


async def connection_error(url: str, **arguments: object) -> str:
    """Return the error of a rejected connection."""
    with pytest.raises(CannotConnect) as raised:
        async with connect(url, **arguments):  # type: ignore[arg-type]  # made of parts
            raise AssertionError("it let us in")
    return str(raised.value)


async def test_unknown_seed_is_rejected(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with provisioned_bus(_directory(tmp_path / "elsewhere"), internal_clients=[CRM]) as elsewhere:
        message = await connection_error(bus.nats_url, **crm(elsewhere))
    assert "does not accept the seed" in message
    assert "internal-client.acme.crm" in message


@pytest.mark.parametrize("wrong", [{"tenant": "other"}, {"name": "mail"}])
async def test_seed_of_another_program_is_rejected(bus: ProvisionedBus, wrong: dict[str, str]) -> None:
    assert "Check `tenant` and `name`" in await connection_error(bus.nats_url, **crm(bus, **wrong))


async def test_malformed_seed_file_is_rejected(bus: ProvisionedBus, tmp_path: Path) -> None:
    assert "cannot be read" in await connection_error(bus.nats_url, **crm(bus, nkey_file=tmp_path / "nothing"))
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("SUnonsense")
    message = await connection_error(bus.nats_url, **crm(bus, nkey_file=nonsense))
    assert "holds no nkey seed" in message
    assert "SUnonsense" not in message


async def test_unreachable_server_is_reported(bus: ProvisionedBus) -> None:
    await asyncio.to_thread(bus.server.kill)
    message = await connection_error(bus.nats_url, **crm(bus, connect_timeout_seconds=0.5))
    assert "does not answer" in message


async def test_invalid_name_is_rejected(bus: ProvisionedBus) -> None:
    with pytest.raises(ValueError, match="cannot name a client"):
        async with connect(bus.nats_url, tenant="acme", name="*"):
            raise AssertionError("it let us in")


async def test_missing_router_is_unavailable(bus: ProvisionedBus) -> None:
    async with connect(bus.nats_url, tenant="acme", name="crm", nkey_file=bus.seed_file(CRM)) as client:
        with pytest.raises(Unavailable, match="no router is running"):
            await client.chat(model="echo", messages=HELLO)
        with pytest.raises(Unavailable, match="no router is running"):
            await client.models()


async def test_a_bus_that_goes_away_and_comes_back(bus: ProvisionedBus) -> None:
    async with connect(bus.nats_url, tenant="acme", name="crm", nkey_file=bus.seed_file(CRM), max_retries=0) as client:
        await asyncio.to_thread(bus.server.kill)
        with pytest.raises(Unavailable):
            await client.chat(model="echo", messages=HELLO)
        await asyncio.to_thread(bus.server.restart)
        async with asyncio.timeout(60), bus.client(Role.ROUTER) as router:
            await _refuse_chats(router)
            while True:
                try:
                    await client.chat(model="echo", messages=HELLO)
                except Unavailable:
                    await asyncio.sleep(0.05)
                except ModelNotFound:
                    break


async def test_models_are_listed_for_the_own_tenant_only(bus: ProvisionedBus) -> None:
    router = Bus(Role.ROUTER, ServiceSettings(nats_url=bus.nats_url, nats_nkey_file=bus.seed_file(Role.ROUTER)))
    available = Models(models=[Model(id="echo", provider="echo", key_source=KeySource.NONE)])

    async def models(query: ListModels) -> Models:
        assert query.tenant == "acme", "a question about another tenant must not arrive"
        return available

    router.respond(MODEL_LIST, models)
    await router.connect()
    await router.broker.start()
    try:
        async with connect(bus.nats_url, tenant="acme", name="crm", nkey_file=bus.seed_file(CRM)) as client:
            assert await client.models() == available.models
        async with bus.client(OTHER) as raw:
            sneaky = ListModels(tenant="acme").encode()
            reply = await raw.request(MODEL_LIST.format(tenant="other"), sneaky, timeout=5)
    finally:
        await router.broker.stop()
    refusal = refusal_in(reply.data)
    assert refusal is not None
    assert refusal.code is ErrorCode.INVALID


async def test_refusal_maps_to_its_error(bus: ProvisionedBus) -> None:
    async with bus.client(Role.ROUTER) as router:

        async def refuse(message: Msg) -> None:
            refusal = Refusal(code=ErrorCode.INVALID, message="no such thing")
            await message.respond(refusal_reply(refusal))

        await router.subscribe(MODEL_LIST.pattern(), queue="router", cb=refuse)
        await router.flush()
        async with connect(bus.nats_url, tenant="acme", name="crm", nkey_file=bus.seed_file(CRM)) as client:
            with pytest.raises(BadRequest, match="no such thing"):
                await client.models()


async def test_late_acceptance_of_an_abandoned_request_is_cancelled(bus: ProvisionedBus) -> None:
    """Even if the client closes meanwhile; otherwise the provider would charge for an unwanted answer."""
    received: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
    cancelled: asyncio.Future[Control] = asyncio.get_running_loop().create_future()

    async def on_request(message: Msg) -> None:
        received.set_result(message)

    async def on_control(message: Msg) -> None:
        cancelled.set_result(Control.decode(message.data))

    async with asyncio.timeout(30), bus.client(Role.ROUTER) as router, bus.client(worker_id(1)) as worker:
        await router.subscribe(CHAT_REQUEST.pattern(), queue="router", cb=on_request)
        await worker.subscribe(WORKER_CONTROL.pattern(), cb=on_control)
        await router.flush()
        await worker.flush()
        async with connect(bus.nats_url, tenant="acme", name="crm", nkey_file=bus.seed_file(CRM)) as client:
            waiting = asyncio.create_task(client.chat(model="echo", messages=HELLO))
            message = await received
            taking = asyncio.create_task(_take_late(worker, message, waiting))
        with pytest.raises(Cancelled):
            await waiting
        await taking
        control = await cancelled
    assert (control.kind, control.attempt_id) == (ControlKind.CANCEL, "att_late")


async def _take_late(worker: NatsClient, message: Msg, given_up: "asyncio.Task[object]") -> None:
    await asyncio.wait([given_up])
    accepted = frames.Accepted(
        attempt_id="att_late",
        instance_id=INSTANCE,
        attempt_number=1,
        decision_id="dec_1",
        provider="echo",
        model="echo",
        key_source=KeySource.NONE,
    )
    await worker.publish(message.reply, accepted.to_frame())


async def _refuse_chats(router: NatsClient) -> None:
    async def refuse(message: Msg) -> None:
        head, _ = ChatRequest.split(message.data)
        failure = Failure(failure_class=FailureClass.NOT_FOUND, message="no such model")
        await router.publish(
            message.reply, frames.RequestRefused(request_id=head.request_id, failure=failure).to_frame()
        )

    await router.subscribe(CHAT_REQUEST.pattern(), queue="router", cb=refuse)
    await router.flush()


def _directory(path: Path) -> Path:
    path.mkdir()
    return path
