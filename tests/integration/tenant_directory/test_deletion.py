"""The deletion of a tenant: suspended at once, then every service is asked until nothing is left, also after a crash."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import pytest

from deploy.embedded.postgres import driver_url
from keyferry.contracts.erasure import (
    DeleteTenant,
    ErasedTenant,
    EraseTenant,
    GetDeletion,
    TenantDeletion,
    TenantRows,
    Treatment,
)
from keyferry.contracts.erasure_management import ERASERS, TENANT_DELETE, TENANT_DELETION_GET
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import CreateTenant, ListTenants, Tenant, UpdateTenant
from keyferry.contracts.topology import TENANT_CREATE, TENANT_LIST, TENANT_UPDATE, TOKEN_CREATE, Role
from keyferry.runtime.bus.requests import Refused
from tests.integration.tenant_directory.processes import DirectoryServers, Operator, new_digest, token_command
from tests.support.waiting import eventually, eventually_async

ACME = DeleteTenant(tenant="acme", confirm="acme")


@dataclass
class OtherServices:
    """The router, the vault and the ledger, with rows of each tenant."""

    rows: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(ERASERS, 3))
    down: set[Role] = field(default_factory=set)
    asked: list[tuple[Role, EraseTenant]] = field(default_factory=list)

    def answer_for(self, role: Role) -> Callable[[EraseTenant], Awaitable[ErasedTenant]]:
        async def answer(command: EraseTenant) -> ErasedTenant:
            return self.erase(role, command)

        return answer

    def erase(self, role: Role, command: EraseTenant) -> ErasedTenant:
        self.asked.append((role, command))
        if role in self.down:
            raise Refused(ErrorCode.UNAVAILABLE, "the database cannot be reached")
        if not command.count_only:
            self.rows[role] = max(0, self.rows[role] - 2)
        left = TenantRows(table="things", rows=self.rows[role], treatment=Treatment.REMOVED, reason="things of tenants")
        return ErasedTenant(tables=[left], done=not self.rows[role])


@asynccontextmanager
async def others(servers: DirectoryServers) -> AsyncIterator[OtherServices]:
    services = OtherServices()
    async with AsyncExitStack() as stack:
        for role, subject in ERASERS.items():
            bus = await stack.enter_async_context(servers.bus.connected(role))
            bus.respond(subject, services.answer_for(role))
            await bus.broker.start()
        yield services


async def finished(operator: Operator) -> TenantDeletion:
    async def report() -> TenantDeletion | None:
        found = await operator.ask(TENANT_DELETION_GET, GetDeletion(tenant="acme"))
        return found if found.finished_at is not None else None

    return await eventually_async("the deletion is finished", report)


def found_and_left(report: TenantDeletion) -> dict[str, tuple[int, int]]:
    return {part.service: (part.tables[0].found, part.tables[0].left) for part in report.parts}


async def test_a_tenant_is_suspended_at_once_and_removed_everywhere(servers: DirectoryServers) -> None:
    async with (
        others(servers) as services,
        servers.process(),
        servers.operator() as operator,
        servers.ingress() as ingress,
    ):
        await operator.create_tenant("acme")
        await operator.create_tenant("globex")
        _, key = await operator.create_token("acme")
        _, other = await operator.create_token("globex")
        report = await operator.ask(TENANT_DELETE, ACME)
        assert report.finished_at is None or report.finished_at >= report.requested_at
        suspended = await eventually("it is suspended", lambda: _suspended(ingress.tenants.get("acme")))
        assert (suspended.name, suspended.deleted_at) == ("deleted", report.requested_at)
        done = await finished(operator)
        assert found_and_left(done) == {
            "tenant-directory": (1, 0),
            **{role.value: (3, 0) for role in ERASERS},
        }
        assert all(part.done and part.waits_for is None for part in done.parts)
        assert any("backup" in line for line in done.elsewhere)
        await eventually("the token is gone", lambda: ingress.tokens.get(key) is None)
        assert ingress.tokens.get(other) is not None
        globex = next(one for one in (await operator.ask(TENANT_LIST, ListTenants())).tenants if one.tenant == "globex")
        assert not globex.suspended
        assert {command.tenant for _, command in services.asked} == {"acme"}
        again = await operator.ask(TENANT_DELETE, ACME)
        assert again == done, "asking again changes nothing"


def _suspended(tenant: Tenant | None) -> Tenant | None:
    return tenant if tenant is not None and tenant.suspended else None


async def test_the_id_is_never_given_again_and_nothing_brings_the_tenant_back(servers: DirectoryServers) -> None:
    async with others(servers), servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        with pytest.raises(Refused, match="confirm with the same name: nothing was deleted"):
            await operator.ask(TENANT_DELETE, DeleteTenant(tenant="acme", confirm="globex"))
        with pytest.raises(Refused, match="cannot be deleted"):
            await operator.ask(TENANT_DELETE, DeleteTenant(tenant="platform", confirm="platform"))
        with pytest.raises(Refused, match="was not deleted, so there is no report"):
            await operator.ask(TENANT_DELETION_GET, GetDeletion(tenant="acme"))
        await operator.ask(TENANT_DELETE, ACME)
        await finished(operator)
        with pytest.raises(Refused, match="exists already, or was deleted"):
            await operator.ask(TENANT_CREATE, CreateTenant(tenant="acme", name="Acme"))
        with pytest.raises(Refused, match="was deleted, for good"):
            await operator.ask(TENANT_UPDATE, UpdateTenant(tenant="acme", suspended=False))
        with pytest.raises(Refused, match="is suspended"):
            await operator.ask(TOKEN_CREATE, token_command("acme", new_digest()))


async def test_it_goes_on_after_outages_and_in_another_process(servers: DirectoryServers) -> None:
    ledger = Role.USAGE_LEDGER
    async with others(servers) as services:
        services.down.add(ledger)
        async with servers.process(), servers.operator() as operator:
            await operator.create_tenant("acme")
            await operator.ask(TENANT_DELETE, ACME)

            async def waits() -> TenantDeletion | None:
                found = await operator.ask(TENANT_DELETION_GET, GetDeletion(tenant="acme"))
                return found if [part.service for part in found.parts if not part.done] == [ledger.value] else None

            report = await eventually_async("only the ledger is left", waits)
            assert report.finished_at is None
            assert next(part.waits_for for part in report.parts if not part.done) == "the database cannot be reached"
        before = len(services.asked)
        services.down.clear()
        async with servers.process(), servers.operator() as operator:
            done = await finished(operator)
            assert found_and_left(done)[ledger.value] == (3, 0)
        assert {role for role, _ in services.asked[before:]} == {ledger}, "what was done is not asked for again"


async def test_records_that_come_late_are_removed_by_later_passes(servers: DirectoryServers) -> None:
    async with others(servers) as services, servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        await operator.ask(TENANT_DELETE, ACME)
        await finished(operator)
        services.rows[Role.USAGE_LEDGER] = 2
        with psycopg.connect(driver_url(servers.admin_url), autocommit=True) as connection:
            connection.execute(
                "UPDATE tenant_directory.deletions SET finished_at = finished_at - interval '2 days',"
                " requested_at = requested_at - interval '2 days'"
            )

        async def removed() -> bool:
            report = await operator.ask(TENANT_DELETION_GET, GetDeletion(tenant="acme"))
            return found_and_left(report)["usage-ledger"] == (5, 0) and all(part.done for part in report.parts)

        await eventually_async("the late records are gone", removed)
