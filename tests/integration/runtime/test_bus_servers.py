"""Addresses with several servers: commands and services use whichever answers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from keyferry.cli.connection import operator
from keyferry.cli.installation import Installation
from keyferry.cli.problem import Problem
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.servers import connect_once, ping_seconds, server_urls
from keyferry.runtime.process.settings import ServiceSettings
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus
from tests.support.waiting import eventually


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path) as found:
        yield found


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Accept connections on loopback and never say a word."""

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append(writer)

    kept: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in kept:
            writer.close()


def closed_port() -> str:
    """Return the URL of a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"nats://127.0.0.1:{free.getsockname()[1]}"


def test_a_list_is_read_leniently() -> None:
    assert server_urls(" nats://a:1 ,, nats://b:2,") == ["nats://a:1", "nats://b:2"]
    assert server_urls("") == [""]
    assert ping_seconds(["a", "b"]) < ping_seconds(["a"])


async def test_a_service_and_a_command_pass_over_servers_that_do_not_answer(bus: ProvisionedBus) -> None:
    async with silent_server() as silent:
        urls = f"{closed_port()}, {silent}, {bus.nats_url}"
        connection = Bus(Role.ROUTER, ServiceSettings(nats_url=urls, nats_nkey_file=bus.seed_file(Role.ROUTER)))
        await connection.connect()
        try:
            await eventually("it is connected", lambda: connection.connected)
        finally:
            await connection.broker.stop()
        async with operator(Installation(urls, bus.seed_file(Role.OPERATOR))) as me:
            assert me.client.is_connected


async def test_nothing_that_answers_and_refused_credentials_are_different_errors(bus: ProvisionedBus) -> None:
    with pytest.raises(Problem, match="does not answer"):
        async with operator(Installation(f"{closed_port()},{closed_port()}", bus.seed_file(Role.OPERATOR))):
            pass
    with pytest.raises(NatsError, match=r"(?i)authorization violation"):
        await connect_once([bus.nats_url, bus.nats_url], connect_timeout=3)
