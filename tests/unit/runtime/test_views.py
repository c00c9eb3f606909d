"""When a view's copy is complete and current, with snapshots and updates in any order."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import cast

import pytest
from nats.aio.msg import Msg

from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANTS_VIEW
from keyferry.runtime import views
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.views import COMPLETE, KvView, SnapshotFailed

Snapshot = tuple[dict[str, bytes], int]
ACME, OTHER = (Tenant(tenant=name, name=name, tier=Tier.FREE) for name in ("acme", "other"))
SECOND = Tenant(tenant="acme", name="second", tier=Tier.FREE)


class Bucket:
    """A bucket whose snapshots arrive when the test says so, and the connection of its one reader."""

    connected = True

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(views, "snapshot", self._snapshot)
        monkeypatch.setattr(views, "_RETRY_SECONDS", 0.0)
        self.snapshots: asyncio.Queue[Snapshot | SnapshotFailed] = asyncio.Queue()
        self.asked = 0
        self.alerts: list[Callable[[], list[str]]] = []
        self.client = SimpleNamespace(subscribe=self._subscribe)
        self._deliver: Callable[[Msg], Awaitable[None]] | None = None
        self.view = KvView(cast(Bus, self), TENANTS_VIEW)

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        pass

    async def update(self, seq: int, key: str, value: bytes, **headers: str) -> None:
        assert self._deliver is not None
        subject = f"{TENANTS_VIEW.view_prefix}{key}"
        message = SimpleNamespace(subject=subject, data=value, headers={"Nats-Sequence": str(seq), **headers})
        await self._deliver(cast(Msg, message))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def _snapshot(self, client: object, bucket: object) -> Snapshot:
        self.asked += 1
        found = await self.snapshots.get()
        if isinstance(found, SnapshotFailed):
            raise found
        return found

    async def _subscribe(self, subject: str, cb: Callable[[Msg], Awaitable[None]]) -> None:
        self._deliver = cb


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    return Bucket(monkeypatch)


def contents(*tenants: Tenant) -> dict[str, bytes]:
    return {COMPLETE: b"{}"} | {tenant.tenant: tenant.encode() for tenant in tenants}


async def test_a_copy_is_not_current_while_a_new_snapshot_is_read(bucket: Bucket) -> None:
    """An update behind the gap may be the one that was lost: a removed key must not be used meanwhile."""
    await bucket.view.start()
    bucket.snapshots.put_nowait((contents(ACME), 2))
    await bucket.settle()
    assert bucket.view.current

    await bucket.update(4, "other", OTHER.encode())
    await bucket.settle()
    assert bucket.asked == 2
    assert not bucket.view.current
    await bucket.update(5, "acme", b"", **{"KV-Operation": "DEL"})
    assert not bucket.view.current

    bucket.snapshots.put_nowait((contents(ACME, OTHER), 4))
    await bucket.settle()
    assert bucket.view.current
    assert dict(bucket.view) == {"other": OTHER}, "what came during the snapshot is applied to it"
    await bucket.view.stop()


async def test_what_a_snapshot_has_already_is_not_applied_again(bucket: Bucket) -> None:
    await bucket.view.start()
    await bucket.settle()
    await bucket.update(3, "other", OTHER.encode())
    bucket.snapshots.put_nowait((contents(ACME), 4))
    await bucket.settle()
    assert (dict(bucket.view), bucket.asked) == ({"acme": ACME}, 1)
    await bucket.view.stop()


@pytest.mark.parametrize("found", [({}, 0), ({"acme": ACME.encode()}, 1), SnapshotFailed("no answer")])
async def test_nothing_but_a_complete_snapshot_makes_a_view_ready(
    bucket: Bucket, found: Snapshot | SnapshotFailed
) -> None:
    await bucket.view.start()
    bucket.snapshots.put_nowait(found)
    await bucket.settle()
    assert not bucket.view.ready
    assert len(bucket.view) == 0
    bucket.snapshots.put_nowait((contents(ACME), 2))
    await bucket.settle()
    assert bucket.view.current
    await bucket.view.stop()


async def test_an_incomplete_snapshot_does_not_replace_a_copy(bucket: Bucket) -> None:
    await bucket.view.start()
    bucket.snapshots.put_nowait((contents(ACME), 2))
    await bucket.settle()
    await bucket.update(9, "other", OTHER.encode())
    bucket.snapshots.put_nowait(({}, 9))
    await bucket.settle()
    assert bucket.view.get("acme") == ACME
    assert not bucket.view.current
    await bucket.view.stop()


async def test_a_copy_without_a_connection_is_not_current(bucket: Bucket) -> None:
    await bucket.view.start()
    bucket.snapshots.put_nowait((contents(ACME), 2))
    await bucket.settle()
    bucket.connected = False
    assert bucket.view.ready
    assert not bucket.view.current
    await bucket.view.stop()


async def test_a_listener_of_entries_hears_of_what_has_changed_and_of_nothing_else(bucket: Bucket) -> None:
    calls: list[tuple[str, str | None]] = []
    bucket.view.on_entry_change(lambda key, entry: calls.append((key, None if entry is None else entry.name)))
    await bucket.view.start()
    raw = {COMPLETE: b"{}", "acme.one": ACME.encode(), "other.two": OTHER.encode()}
    bucket.snapshots.put_nowait((raw, 2))
    await bucket.settle()
    await bucket.update(3, "acme.one", b"", **{"KV-Operation": "DEL"})
    assert (sorted(calls[:2]), calls[2:]) == ([("acme.one", "acme"), ("other.two", "other")], [("acme.one", None)])

    calls.clear()
    await bucket.update(9, "other.two", OTHER.encode())
    bucket.snapshots.put_nowait(({COMPLETE: b"{}", "acme.new": ACME.encode()}, 9))
    await bucket.settle()
    assert (calls[0], sorted(calls[1:])) == (("other.two", "other"), [("acme.new", "acme"), ("other.two", None)])
    await bucket.view.stop()


async def test_a_listener_of_owners_hears_of_the_owner_that_changed_and_of_no_other(bucket: Bucket) -> None:
    calls: list[tuple[str, list[str]]] = []
    bucket.view.on_owner_change(lambda owner, found: calls.append((owner, sorted(entry.name for entry in found))))
    await bucket.view.start()
    entries = {"acme.one": ACME, "acme.two": SECOND, "other.one": OTHER}
    raw = {COMPLETE: b"{}"} | {key: entry.encode() for key, entry in entries.items()}
    bucket.snapshots.put_nowait((raw, 3))
    await bucket.settle()
    assert sorted(calls) == [("acme", ["acme", "second"]), ("other", ["other"])]

    calls.clear()
    await bucket.update(4, "acme.two", ACME.encode())
    await bucket.update(5, "other.one", b"", **{"KV-Operation": "DEL"})
    assert calls == [("acme", ["acme", "acme"]), ("other", [])]

    calls.clear()
    await bucket.update(9, "acme.two", ACME.encode())
    await bucket.settle()
    new = Tenant(tenant="new", name="other", tier=Tier.FREE)
    raw = {COMPLETE: b"{}", "acme.one": ACME.encode(), "new.one": new.encode()}
    bucket.snapshots.put_nowait((raw, 9))
    await bucket.settle()
    assert calls[0] == ("acme", ["acme", "acme"]), "the update that showed the gap"
    assert sorted(calls[1:]) == [("acme", ["acme"]), ("new", ["other"])], "what the snapshot changed, and nothing else"
    await bucket.view.stop()


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{", b'{"tenant":"acme","name":"acme","tier":"none"}', b'{"tenant":"acme"}', OTHER.encode(), b"\xff", b"[]"],
)
async def test_an_entry_that_cannot_be_read_is_in_no_copy_and_its_key_is_remembered(
    bucket: Bucket, damaged: bytes
) -> None:
    """Neither left out silently nor as it was before: both may allow what it forbids."""
    view = bucket.view
    owned: list[tuple[str, int]] = []
    view.on_owner_change(lambda owner, found: owned.append((owner, len(found))))
    await view.start()
    bucket.snapshots.put_nowait((contents(ACME, OTHER), 2))
    await bucket.settle()
    assert (view.unreadable, view.unreadable_owners, view.alerts()) == ({}, frozenset(), [])

    await bucket.update(3, "acme", damaged)
    assert (view.get("acme"), view.get("other")) == (None, OTHER)
    assert view.unreadable_owners == {"acme"}
    assert owned[-1] == ("acme", 0)
    assert "entries of the view tenants cannot be read" in view.alerts()[0]
    assert "acme (" in view.alerts()[0]

    await bucket.update(9, "other", OTHER.encode())
    await bucket.settle()
    bucket.snapshots.put_nowait((contents(OTHER) | {"acme": damaged}, 9))
    await bucket.settle()
    assert view.unreadable_owners == {"acme"}, "a new snapshot has it too"
    assert view.current

    await bucket.update(10, "acme", ACME.encode())
    assert (view.get("acme"), view.unreadable_owners, view.alerts()) == (ACME, frozenset(), [])
    await bucket.update(11, "acme", damaged)
    await bucket.update(12, "acme", b"", **{"KV-Operation": "DEL"})
    assert (view.get("acme"), view.unreadable_owners, view.alerts()) == (None, frozenset(), [])
    await view.stop()
