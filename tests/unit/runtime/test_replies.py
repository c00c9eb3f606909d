"""Management requests through FastStream's own pipeline: what a handler returns, raises or never sees."""

import json
from collections.abc import Awaitable, Callable
from typing import cast
from unittest.mock import AsyncMock

import pytest
from faststream.nats import TestNatsBroker

from keyferry.contracts.key import ListKeys, ProviderKeys
from keyferry.contracts.route import ListModels, Models
from keyferry.contracts.service import ErrorCode, refusal_in
from keyferry.contracts.tenancy import CreateTenant, Tenant
from keyferry.contracts.topology import KEY_LIST, MODEL_LIST, TENANT_CREATE, AnySubject, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.process.settings import ServiceSettings

INBOX = "_INBOX_c.operator.abc.1"
ACME = b'{"tenant": "acme", "name": "Acme"}'


async def create(command: CreateTenant) -> Tenant:
    return Tenant(tenant=command.tenant, name=command.name, tier=command.tier)


async def replies(
    handler: Callable[[CreateTenant], Awaitable[Tenant]], data: bytes, reply_to: str = INBOX
) -> list[tuple[str, bytes]]:
    """What the tenant directory publishes for one request to create a tenant."""
    bus = bus_of(Role.TENANT_DIRECTORY)
    bus.respond(TENANT_CREATE, handler)
    return await published(bus, TENANT_CREATE, TENANT_CREATE.format(), data, reply_to)


async def published(bus: Bus, subject: AnySubject, address: str, data: bytes, reply_to: str) -> list[tuple[str, bytes]]:
    async with TestNatsBroker(bus.broker) as broker:
        await broker.publish(data, address, reply_to=reply_to)
        publish = cast(AsyncMock, bus.client.publish)
        return [(call.args[0], call.args[1]) for call in publish.await_args_list]


def bus_of(role: Role) -> Bus:
    return Bus(role, ServiceSettings(nats_url="nats://127.0.0.1:9"))


def code_and_message(published: list[tuple[str, bytes]]) -> tuple[ErrorCode, str]:
    [(reply_to, data)] = published
    assert reply_to == INBOX
    refusal = refusal_in(data)
    assert refusal is not None
    return refusal.code, refusal.message


async def test_the_returned_message_is_the_reply() -> None:
    [(reply_to, data)] = await replies(create, ACME)
    assert reply_to == INBOX
    assert Tenant.decode(data).tenant == "acme"
    assert "null" not in data.decode()


async def test_a_refusal_is_the_reply() -> None:
    async def refuse(command: CreateTenant) -> Tenant:
        raise Refused(ErrorCode.CONFLICT, "choose another name")

    assert code_and_message(await replies(refuse, ACME)) == (ErrorCode.CONFLICT, "choose another name")


@pytest.mark.parametrize(
    "data",
    [
        b'{"tenant": "acme", "name": "Acme", "tier": "sk-secret-value"}',
        b'{"tenant": "acme", "name": ["sk-secret-value"]}',
        b'{"tenant": "acme", "name": "Acme", "sk-secret-value": 1}',
        b'"sk-secret-value"',
        b"sk-secret-value",
    ],
)
async def test_a_malformed_request_is_refused_without_its_values(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    code, message = code_and_message(await replies(create, data))
    assert code is ErrorCode.INVALID
    assert "sk-secret-value" not in message + caplog.text


async def test_a_defect_is_logged_and_its_text_not_returned(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(command: CreateTenant) -> Tenant:
        raise RuntimeError("sk-secret-value")

    code, message = code_and_message(await replies(fail, ACME))
    assert (code, message) == (ErrorCode.INTERNAL, "tenant.create failed; see the log of tenant-directory")
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize("reply_to", ["kf.v1.attempt.run.stolen", "_INBOX_ingress.x", "_INBOX.x", "", "$KV.tenants.x"])
async def test_a_disallowed_reply_subject_is_never_published_to(reply_to: str) -> None:
    handled: list[CreateTenant] = []

    async def handle(command: CreateTenant) -> Tenant:
        handled.append(command)
        return await create(command)

    assert await replies(handle, ACME, reply_to) == []
    assert handled == []


async def test_a_request_that_names_another_tenant_than_its_subject_is_refused() -> None:
    async def list_models(command: ListModels) -> Models:
        raise AssertionError("handled")

    bus = bus_of(Role.ROUTER)
    bus.respond(MODEL_LIST, list_models)
    data = json.dumps({"tenant": "acme"}).encode()
    found = await published(bus, MODEL_LIST, MODEL_LIST.format(tenant="other"), data, INBOX)
    assert code_and_message(found)[0] is ErrorCode.INVALID


async def test_each_subject_has_its_own_decoder_and_handler() -> None:
    async def list_keys(command: ListKeys) -> ProviderKeys:
        assert command == ListKeys(tenant="acme")
        return ProviderKeys(keys=[])

    bus = bus_of(Role.KEY_VAULT)
    bus.respond(KEY_LIST, list_keys)
    [(_, data)] = await published(bus, KEY_LIST, KEY_LIST.format(), b'{"tenant": "acme"}', INBOX)
    assert ProviderKeys.decode(data).keys == []
