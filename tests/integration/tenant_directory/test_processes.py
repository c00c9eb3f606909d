"""Several processes of the directory, killed processes, and a database outage."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import psycopg
import pytest
from sqlalchemy.engine import make_url

from keyferry.contracts.envelope import Message
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import CreateTenant, ListTenants
from keyferry.contracts.topology import TENANT_CREATE, TENANT_LIST, AnySubject
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.database.schema_check import SchemaMismatch
from keyferry.runtime.process.lifecycle import Service
from services.tenant_directory.app import create_app
from tests.integration.tenant_directory.processes import DirectoryServers, Follower, Operator
from tests.support.random_seed import random_seed
from tests.support.waiting import eventually

KILLS = 5


def relays(*services: Service) -> list[str]:
    return [service.facts()["relay"] for service in services]


def execute(servers: DirectoryServers, statement: str) -> None:
    """Run a statement as the database's superuser."""
    url = make_url(servers.admin_url.reveal()).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


async def test_of_two_replicas_one_publishes_and_the_other_takes_over(servers: DirectoryServers) -> None:
    async with (
        servers.operator() as operator,
        servers.ingress() as ingress,
        servers.process() as first,
        servers.process() as second,
    ):
        assert relays(first, second) == ["leading", "following"]
        await create_many(operator, ingress, "both")
        assert relays(first, second) == ["leading", "following"]
        first.app.exit()
        await eventually("the other takes over", lambda: relays(second) == ["leading"])
        await create_many(operator, ingress, "one")


async def create_many(operator: Operator, ingress: Follower, prefix: str) -> None:
    names = [f"{prefix}-{number}" for number in range(20)]
    await asyncio.gather(*(operator.create_tenant(name) for name in names))
    await eventually("all are in the view", lambda: all(ingress.tenants.get(name) for name in names))


async def test_a_relay_that_loses_its_connection_takes_the_lock_again(servers: DirectoryServers) -> None:
    async with (
        servers.process() as service,
        servers.operator() as operator,
        servers.ingress() as ingress,
    ):
        execute(
            servers,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        await eventually("the relay is not ready", lambda: not service.ready)
        await eventually("it leads again", lambda: relays(service) == ["leading"])
        await create_many(operator, ingress, "after")


async def test_a_database_outage_is_reported_and_survived(
    servers: DirectoryServers, caplog: pytest.LogCaptureFixture
) -> None:
    database = make_url(servers.admin_url.reveal()).database
    async with (
        servers.process() as service,
        servers.operator() as operator,
        servers.ingress() as ingress,
    ):
        execute_elsewhere(servers, f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
        execute_elsewhere(
            servers, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        )
        await eventually("it is not ready", lambda: not service.ready)
        requests: list[tuple[AnySubject, Message]] = [
            (TENANT_LIST, ListTenants()),
            (TENANT_CREATE, CreateTenant(tenant="a", name="A")),
        ]
        for subject, question in requests:
            with pytest.raises(Refused, match="cannot reach its database") as caught:
                await operator.ask(subject, question)
            assert caught.value.refusal.code is ErrorCode.UNAVAILABLE
        assert "because of PostgreSQL" in caplog.text
        execute_elsewhere(servers, f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
        await eventually("it is ready again", lambda: service.ready)
        await create_many(operator, ingress, "after")


def execute_elsewhere(servers: DirectoryServers, statement: str) -> None:
    """Run a statement over a connection to another database."""
    url = make_url(servers.admin_url.reveal()).set(drivername="postgresql", database="postgres")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(statement.encode())


async def test_tables_of_another_build_keep_it_from_starting(servers: DirectoryServers) -> None:
    execute(servers, "UPDATE tenant_directory.schema_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="newer than this build"):
        await create_app(servers.settings()).run()


async def test_answered_changes_are_published_even_if_the_process_is_killed(servers: DirectoryServers) -> None:
    delays = random.Random(random_seed())
    created: list[str] = []
    async with servers.operator() as operator, servers.ingress() as ingress:
        for life in range(KILLS):
            async with child(servers) as process:
                await until_it_answers(operator)
                creating = asyncio.create_task(create_until_it_dies(operator, f"life-{life}", created))
                expected = len(created) + 1
                await eventually("it has answered once", partial(has_grown_to, created, expected))
                await asyncio.sleep(delays.random() * 0.1)
                process.kill()
                await creating
        async with servers.process():
            await eventually("the views are whole", lambda: ingress.ready)
            await eventually("all are in the view", lambda: all(ingress.tenants.get(name) for name in created))
            listed = await operator.ask(TENANT_LIST, ListTenants())
            await eventually(
                "the view is the table",
                lambda: dict(ingress.tenants) == {tenant.tenant: tenant for tenant in listed.tenants},
            )


def has_grown_to(names: list[str], count: int) -> bool:
    return len(names) >= count


async def create_until_it_dies(operator: Operator, prefix: str, created: list[str]) -> None:
    """Create tenants one after the other, and collect the answered ones."""
    for number in range(10_000):
        name = f"{prefix}-{number}"
        try:
            command = CreateTenant(tenant=name, name=name)
            await operator.bus.ask(TENANT_CREATE, command, timeout_seconds=1.0)
        except BusError:
            return
        created.append(name)
    raise AssertionError("it was never killed")


async def until_it_answers(operator: Operator) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(BusError):
                await operator.ask(TENANT_LIST, ListTenants())
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def child(servers: DirectoryServers) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the directory in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.tenant_directory",
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | servers.environment(),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_process_drains_and_exits_cleanly(servers: DirectoryServers) -> None:
    async with servers.operator() as operator, child(servers) as process:
        await until_it_answers(operator)
        await operator.create_tenant("acme")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_process_waits_for_the_database(servers: DirectoryServers, caplog: pytest.LogCaptureFixture) -> None:
    database = make_url(servers.admin_url.reveal()).database
    execute_elsewhere(servers, f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
    async with servers.starting() as service:
        await eventually("it logs what it waits for", lambda: "PostgreSQL" in caplog.text)
        assert "make up" in caplog.text
        execute_elsewhere(servers, f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
        await eventually("it is ready", lambda: service.ready)
