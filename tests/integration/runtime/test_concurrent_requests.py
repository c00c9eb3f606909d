"""Requests over a real bus: a slow one does not block the others."""

import asyncio
from pathlib import Path

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import CreateTenant, Tenant
from keyferry.contracts.topology import TENANT_CREATE, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.process.settings import ServiceSettings
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

_TIMEOUT_SECONDS = 10


def bus_of(found: ProvisionedBus, role: Role) -> Bus:
    return Bus(role, ServiceSettings(nats_url=found.nats_url, nats_nkey_file=found.seed_file(role)))


async def test_a_slow_reply_does_not_block_other_requests(tmp_path: Path) -> None:
    async with provisioned_bus(tmp_path) as found:
        owner, operator = bus_of(found, Role.TENANT_DIRECTORY), bus_of(found, Role.OPERATOR)
        second_came = asyncio.Event()

        async def create(asked: CreateTenant) -> Tenant:
            if asked.tenant == "second":
                second_came.set()
            await second_came.wait()
            if asked.tenant == "refused":
                raise Refused(ErrorCode.CONFLICT, "as scripted")
            return Tenant(tenant=asked.tenant, name=asked.name, tier=asked.tier)

        owner.respond(TENANT_CREATE, create)
        await owner.connect()
        await owner.broker.start()
        await operator.connect()
        try:
            asked = [
                asyncio.ensure_future(
                    operator.ask(TENANT_CREATE, CreateTenant(tenant=name, name=name), timeout_seconds=_TIMEOUT_SECONDS)
                )
                for name in ("first", "refused", "second")
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await operator.broker.stop()
            await owner.broker.stop()
    first, refused, second = answers
    assert isinstance(first, Tenant)
    assert first.tenant == "first"
    assert isinstance(refused, Refused)
    assert isinstance(second, Tenant)
