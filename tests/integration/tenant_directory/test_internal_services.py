"""Internal services at a running directory: the table, the view, the audit."""

import asyncio

import pytest

from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_CREATE,
    INTERNAL_SERVICE_LIST,
    INTERNAL_SERVICE_REVOKE,
    INTERNAL_SERVICES_VIEW,
    MAX_PER_TENANT,
    InternalService,
    ListInternalServices,
    RevokeInternalService,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import KvView
from tests.integration.tenant_directory.processes import DirectoryServers, Operator
from tests.support.internal_services import create_command
from tests.support.waiting import eventually


async def list_services(
    operator: Operator, tenant: str | None = "acme", revoked: bool = False
) -> list[InternalService]:
    command = ListInternalServices(tenant=tenant, revoked=revoked)
    return (await operator.ask(INTERNAL_SERVICE_LIST, command)).services


async def test_the_life_of_a_service(servers: DirectoryServers) -> None:
    async with servers.process(), servers.operator() as operator, servers.bus.connected(Role.KEY_VAULT) as vault:
        view = KvView(vault, INTERNAL_SERVICES_VIEW)
        await view.start()
        try:
            await operator.create_tenant("acme")
            await operator.create_tenant("other")
            command = create_command(operations=["chat"])
            created = await operator.ask(INTERNAL_SERVICE_CREATE, command)
            assert created.nkey_public == command.nkey_public
            await eventually("the vault sees it", lambda: view.get("acme.crm") == created)

            with pytest.raises(Refused, match="has an internal service 'crm' already"):
                await operator.ask(INTERNAL_SERVICE_CREATE, create_command())
            for reused in ({"name": "b"}, {"tenant": "other"}):
                with pytest.raises(Refused, match="registered before"):
                    await operator.ask(INTERNAL_SERVICE_CREATE, command.model_copy(update=reused))
            namesake = await operator.ask(INTERNAL_SERVICE_CREATE, create_command("other"))
            assert await list_services(operator, None) == [created, namesake]
            for_server = await operator.ask(INTERNAL_SERVICE_LIST, ListInternalServices(without_operations=True))
            assert for_server.services == [created.model_copy(update={"operations": None}), namesake]

            revocation = RevokeInternalService(tenant="acme", name="crm")
            revoked = await operator.ask(INTERNAL_SERVICE_REVOKE, revocation)
            await eventually("it leaves the view", lambda: view.get("acme.crm") is None)
            assert await operator.ask(INTERNAL_SERVICE_REVOKE, revocation) == revoked
            assert await list_services(operator) == []
            assert await list_services(operator, revoked=True) == [revoked]
            assert view.get("other.crm") == namesake

            with pytest.raises(Refused, match="registered before"):
                await operator.ask(INTERNAL_SERVICE_CREATE, command)
            again = await operator.ask(INTERNAL_SERVICE_CREATE, create_command())
            assert await list_services(operator, revoked=True) == [revoked, again]
            await eventually("the new one is in the view", lambda: view.get("acme.crm") == again)
        finally:
            await view.stop()


async def test_nobody_sees_or_revokes_what_is_not_his(servers: DirectoryServers) -> None:
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        await operator.create_tenant("other")
        created = await operator.ask(INTERNAL_SERVICE_CREATE, create_command())
        assert await list_services(operator, "other") == []
        for tenant, name in (("other", "crm"), ("other", "nothing")):
            with pytest.raises(Refused) as caught:
                await operator.ask(INTERNAL_SERVICE_REVOKE, RevokeInternalService(tenant=tenant, name=name))
            assert caught.value.refusal.code is ErrorCode.NOT_FOUND
            assert caught.value.refusal.message.replace(name, "") == (
                "tenant 'other' has no internal service '': list its internal services to see the names"
            )
        with pytest.raises(Refused, match="there is no tenant 'nobody'"):
            await list_services(operator, "nobody")
        assert await list_services(operator) == [created]


async def test_many_creations_at_once_stay_within_the_limit(servers: DirectoryServers) -> None:
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        commands = [create_command(name=f"s{number}") for number in range(MAX_PER_TENANT + 5)]
        asked = (operator.ask(INTERNAL_SERVICE_CREATE, command) for command in commands)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert len(refused) == 5
        assert len(await list_services(operator)) == MAX_PER_TENANT


async def test_one_name_is_given_once_under_a_race(servers: DirectoryServers) -> None:
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        answers = await asyncio.gather(
            *(operator.ask(INTERNAL_SERVICE_CREATE, create_command()) for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(answer, InternalService) for answer in answers) == 1
        assert all(isinstance(answer, Refused | InternalService) for answer in answers)


async def test_changes_are_audited_with_public_keys(servers: DirectoryServers) -> None:
    async with servers.process(), servers.operator() as operator, servers.bus.client(Role.USAGE_LEDGER) as ledger:
        received: list[str] = []
        await operator.create_tenant("acme")
        created = await operator.ask(INTERNAL_SERVICE_CREATE, create_command())
        for _ in range(2):
            await operator.ask(INTERNAL_SERVICE_REVOKE, RevokeInternalService(tenant="acme", name="crm"))
        consumer = await ledger.jetstream().pull_subscribe_bind("usage-ledger", "AUDIT")
        while len(received) < 3:
            for message in await consumer.fetch(10, timeout=10):
                received.append(message.data.decode())
                await message.ack()
        actions = [text for text in received if "internal_service." in text]
        assert [("create" in text, created.nkey_public in text) for text in actions] == [(True, True), (False, True)]
