"""A view on a real bus never passes off an outdated copy as current: after a gap and after a reconnect it is read anew."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANTS_VIEW, Bucket, Role
from keyferry.runtime import views
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.views import KvView, ViewWriter, snapshot
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus
from tests.support.waiting import eventually

ACME, OTHER = (Tenant(tenant=name, name=name, tier=Tier.FREE) for name in ("acme", "other"))


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path) as found:
        async with found.client(Role.TENANT_DIRECTORY) as owner:
            await ViewWriter(owner, TENANTS_VIEW).reconcile({"acme": ACME.encode()})
        yield found


class Reader:
    """A process that follows the view, and whether the copy called itself current at each change."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.view = KvView(bus, TENANTS_VIEW)
        self.current_at_changes: list[bool] = []
        self.view.on_change(lambda: self.current_at_changes.append(self.view.current))

    async def start(self) -> None:
        await self.view.start()
        await eventually("the view is current", lambda: self.view.current)
        self.current_at_changes.clear()


async def test_a_skipped_number_makes_the_view_read_a_new_snapshot(bus: ProvisionedBus) -> None:
    """As if an update had been lost on its way: what follows it carries the number after the next."""
    async with bus.connected(Role.INGRESS) as connection, bus.client(Role.PROVISIONER) as server:
        reader = Reader(connection)
        await reader.start()
        _, last_seq = await snapshot(connection.client, TENANTS_VIEW)
        headers = {"Nats-Sequence": str(last_seq + 2)}
        await server.publish(f"{TENANTS_VIEW.view_prefix}other", OTHER.encode(), headers=headers)
        await eventually("a snapshot replaced the copy", lambda: len(reader.current_at_changes) == 2)
        assert reader.current_at_changes == [False, True]
        assert dict(reader.view) == {"acme": ACME}, "the bucket never had the other"
        await reader.view.stop()


async def test_a_lost_change_that_nothing_follows_is_read_all_the_same(
    bus: ProvisionedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the servers of a cluster lose each other for a moment: the reader's connection stays up."""
    monkeypatch.setattr(views, "_VERIFY_SECONDS", 0.2)
    monkeypatch.setattr(views, "_UNDER_WAY_SECONDS", 0.1)
    async with bus.connected(Role.INGRESS) as connection, bus.client(Role.TENANT_DIRECTORY) as owner:
        reader = Reader(connection)
        await reader.start()

        async def lose(_: Msg) -> None:
            lost.set()

        lost = asyncio.Event()
        (followed,) = [one for one in connection.client._subs.values() if one.subject.startswith("kfview.tenants.")]
        followed._cb = lose
        await ViewWriter(owner, TENANTS_VIEW).put("other", OTHER.encode())
        await asyncio.wait_for(lost.wait(), 30)
        await eventually("the change is there", lambda: reader.view.get("other"))
        await reader.view.stop()


async def test_a_snapshot_that_is_behind_the_leader_is_taken_again(
    bus: ProvisionedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a replica that was away answers: the leader's sequence is the measure."""
    behind: list[tuple[dict[str, bytes], int]] = [({"acme": b"old"}, 1)] * 3
    read = views._read_pages

    async def lagging(client: Client, bucket: Bucket[Any]) -> tuple[dict[str, bytes], int]:
        return behind.pop() if behind else await read(client, bucket)

    monkeypatch.setattr(views, "_read_pages", lagging)
    monkeypatch.setattr(views, "_RETRY_SECONDS", 0.0)
    async with bus.client(Role.INGRESS) as reader:
        entries, _ = await snapshot(reader, TENANTS_VIEW)
    assert entries["acme"] == ACME.encode()
    assert not behind


async def test_the_next_number_needs_no_new_snapshot(bus: ProvisionedBus) -> None:
    async with bus.connected(Role.INGRESS) as connection, bus.client(Role.TENANT_DIRECTORY) as owner:
        reader = Reader(connection)
        await reader.start()
        await ViewWriter(owner, TENANTS_VIEW).put("other", OTHER.encode())
        await eventually("the change is there", lambda: reader.view.get("other"))
        assert reader.current_at_changes == [True]
        await reader.view.stop()


async def test_a_reconnect_makes_the_view_read_a_new_snapshot(bus: ProvisionedBus) -> None:
    async with bus.connected(Role.INGRESS) as connection:
        reader = Reader(connection)
        await reader.start()
        current_at_reconnect: list[bool] = []
        connection.on_reconnect(lambda: current_at_reconnect.append(reader.view.current))
        bus.server.kill()
        await eventually("the connection is lost", lambda: not connection.connected)
        assert not reader.view.current
        assert reader.view.get("acme") == ACME, "an outdated copy still serves"
        bus.server.restart()
        await eventually("a snapshot replaced the copy", lambda: reader.current_at_changes)
        await eventually("the view is current", lambda: reader.view.current)
        assert current_at_reconnect == [False]
        await reader.view.stop()
