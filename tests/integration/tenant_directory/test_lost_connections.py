"""Connections that PostgreSQL ends while a statement runs: a read is done once more, a change is not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
import pytest

from deploy.embedded import postgres
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import GetTenant, UpdateTenant
from keyferry.contracts.topology import TENANT_GET, TENANT_UPDATE
from keyferry.runtime.bus.requests import Refused
from tests.integration.tenant_directory.processes import DirectoryServers, Operator
from tests.support.waiting import eventually

Connection = psycopg.Connection[tuple[object, ...]]
_WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class BlockedTable:
    """The table of tenants while nobody can read it."""

    def __init__(self, blocking: Connection, watching: Connection) -> None:
        self._blocking, self._watching = blocking, watching

    def waiting(self) -> list[int]:
        """Return the processes of the server that wait for the table."""
        return [int(str(row[0])) for row in self._watching.execute(_WAITING)]

    async def end_one(self) -> None:
        """End the connection of the statement that waits, once there is one."""
        (pid,) = await eventually("a statement waits for the table", self.waiting)
        self._watching.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))

    def unblock(self) -> None:
        """Let everybody go on."""
        self._blocking.rollback()


@contextmanager
def blocked_table(servers: DirectoryServers) -> Iterator[BlockedTable]:
    url = postgres.driver_url(servers.admin_url)
    # Within one transaction the server shows the same activity again.
    with psycopg.connect(url) as blocking, psycopg.connect(url, autocommit=True) as watching:
        blocking.execute("LOCK TABLE tenant_directory.tenants IN ACCESS EXCLUSIVE MODE")
        yield BlockedTable(blocking, watching)


@asynccontextmanager
async def acme(servers: DirectoryServers) -> AsyncIterator[Operator]:
    """Run a directory with one tenant."""
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        yield operator


async def test_a_read_is_answered_by_another_connection(servers: DirectoryServers) -> None:
    async with acme(servers) as operator:
        with blocked_table(servers) as table:
            asked = asyncio.create_task(operator.ask(TENANT_GET, GetTenant(tenant="acme")))
            await table.end_one()
            table.unblock()
            assert (await asked).name == "Acme"


async def test_a_read_is_done_twice_at_most(servers: DirectoryServers) -> None:
    async with acme(servers) as operator:
        with blocked_table(servers) as table:
            asked = asyncio.create_task(operator.ask(TENANT_GET, GetTenant(tenant="acme")))
            await table.end_one()
            await table.end_one()
            with pytest.raises(Refused) as refused:
                await asked
            assert refused.value.refusal.code is ErrorCode.UNAVAILABLE
            assert table.waiting() == []


async def test_a_change_is_refused_and_not_repeated(servers: DirectoryServers) -> None:
    async with acme(servers) as operator:
        rename = UpdateTenant(tenant="acme", name="Acme Ltd")
        with blocked_table(servers) as table:
            asked = asyncio.create_task(operator.ask(TENANT_UPDATE, rename))
            await table.end_one()
            with pytest.raises(Refused) as refused:
                await asked
            assert refused.value.refusal.code is ErrorCode.UNAVAILABLE
            assert table.waiting() == []
            table.unblock()
        assert (await operator.ask(TENANT_GET, GetTenant(tenant="acme"))).name == "Acme"
        assert (await operator.ask(TENANT_UPDATE, rename)).name == "Acme Ltd"
