"""Views: a service's live replica of data that another service owns.

The owner writes a KV bucket; the server republishes each change to `kfview.<bucket>.>`. A reader subscribes there first and
then takes a snapshot by direct get, so that no change is missed; a gap in the sequence or a reconnect takes a new snapshot. No
consumer is created, which only the provisioner may do. The owner writes the key `_complete` last: a snapshot without it never
replaces a copy.

The bus delivers a change to who is connected, once. Where several servers pass it on, one that loses the others for a moment
loses it without an error, and a replica that was away may answer a snapshot with what it had before. So a snapshot has to reach
the last sequence that the bucket's leader knows, and so does, every few seconds, each copy.

An entry that cannot be read is in no copy, not even as it was before: it may forbid what the older one allowed. Its key is
remembered, for readers to which a missing entry means fewer limits, and for the report of the process.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from keyferry.contracts.envelope import MalformedMessage, Message
from keyferry.contracts.topology import Bucket
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.concurrency import cancel_and_wait

_log = logging.getLogger(__name__)

COMPLETE = "_complete"
_PAGE = 256
_SNAPSHOT_TIMEOUT_SECONDS = 5.0
_RETRY_SECONDS = 0.25
_SNAPSHOT_TRIES = 12
"""Each may be answered by another replica. Where the last message was removed by hand, none ever reaches its sequence."""
_VERIFY_SECONDS = 5.0
_UNDER_WAY_SECONDS = 1.0
"""A change that was stored so long ago has arrived or been lost."""
_DELETED = ("DEL", "PURGE")
_MAX_NAMED = 5
"""Most keys of unreadable entries in one report."""

Entry = TypeVar("Entry", bound=Message)


OwnerListener = Callable[[str, Collection[Entry]], None]
"""Takes an owner and all its entries, in any order; none if it has no more."""


EntryListener = Callable[[str, Entry | None], None]
"""Takes a key and its entry; None if it is gone."""


class SnapshotFailed(Exception):
    """The bucket cannot be read now."""


async def snapshot(client: Client, bucket: Bucket[Any]) -> tuple[dict[str, bytes], int]:
    """Return every key and value of a bucket, and the bucket's last sequence. Raises SnapshotFailed."""
    expected = await last_sequence(client, bucket)
    for _ in range(_SNAPSHOT_TRIES):
        entries, last_seq = await _read_pages(client, bucket)
        if last_seq >= expected:
            break
        await asyncio.sleep(_RETRY_SECONDS)
    else:
        _log.warning("a bucket's last entry is missing", extra={"view": bucket.name, "sequence": expected})
    return entries, last_seq


async def last_sequence(client: Client, bucket: Bucket[Any]) -> int:
    """Return the sequence of a bucket's last change, as its leader knows it. Raises SnapshotFailed."""
    try:
        reply = await client.request(f"$JS.API.STREAM.INFO.{bucket.stream}", b"", timeout=_SNAPSHOT_TIMEOUT_SECONDS)
        return int(orjson.loads(reply.data)["state"]["last_seq"])
    except (NatsError, TimeoutError) as error:
        raise SnapshotFailed(f"{bucket.name}: {type(error).__name__}") from None
    except (ValueError, KeyError, TypeError):
        raise SnapshotFailed(f"{bucket.name}: the server does not describe it") from None


async def _read_pages(client: Client, bucket: Bucket[Any]) -> tuple[dict[str, bytes], int]:
    entries: dict[str, bytes] = {}
    next_seq, last_seq = 1, 0
    while True:
        page, pending = await _page(client, bucket, next_seq)
        for seq, key, value in page:
            last_seq = max(last_seq, seq)
            next_seq = seq + 1
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value
        if not page or pending == 0:
            return entries, last_seq


async def _page(client: Client, bucket: Bucket[Any], from_seq: int) -> tuple[list[tuple[int, str, bytes | None]], int]:
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    query = {"seq": from_seq, "batch": _PAGE, "next_by_subj": bucket.key_subject(">")}
    rows: list[tuple[int, str, bytes | None]] = []
    try:
        await client.publish(f"$JS.API.DIRECT.GET.{bucket.stream}", orjson.dumps(query), reply=inbox)
        async with asyncio.timeout(_SNAPSHOT_TIMEOUT_SECONDS):
            while True:
                message = await subscription.next_msg(timeout=_SNAPSHOT_TIMEOUT_SECONDS)
                headers = message.headers or {}
                status = headers.get("Status")
                if status == "204":
                    return rows, int(headers.get("Nats-Num-Pending", "0"))
                if status == "404":
                    return rows, 0
                if status is not None:
                    raise SnapshotFailed(f"{bucket.name}: the server answers {status} {headers.get('Description', '')}")
                rows.append(_row(bucket, headers, message.data))
    except (NatsError, TimeoutError) as error:
        raise SnapshotFailed(f"{bucket.name}: {type(error).__name__}") from None
    finally:
        with suppress(NatsError):  # a closed or draining connection has dropped it already
            await subscription.unsubscribe()


def _row(bucket: Bucket[Any], headers: Mapping[str, str], data: bytes) -> tuple[int, str, bytes | None]:
    key = headers["Nats-Subject"][len(bucket.key_subject("")) :]
    value = None if headers.get("KV-Operation") in _DELETED else data
    return int(headers["Nats-Sequence"]), key, value


class KvView(Generic[Entry]):
    """A live, read-only, decoded replica of a bucket. Reading is a dict look-up; no request waits for the bus."""

    def __init__(self, bus: Bus, bucket: Bucket[Entry]) -> None:
        self.bucket = bucket
        self._bus = bus
        self._entry = bucket.message
        self._entries: dict[str, Entry] = {}
        self.unreadable: dict[str, str] = {}
        """What is wrong with the entries that cannot be read, by key."""
        self.unreadable_owners: frozenset[str] = frozenset()
        """Whom these entries are about: what their keys have before the first dot."""
        self._seq = 0
        self._complete = False
        self._stale = asyncio.Event()
        self._pending: list[Msg] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._verified = 0
        """The last sequence for which a snapshot was taken because it had not arrived."""
        self._listeners: list[Callable[[], None]] = []
        self._owner_listeners: list[OwnerListener[Entry]] = []
        self._entry_listeners: list[EntryListener[Entry]] = []
        self._by_owner: dict[str, dict[str, Entry]] = {}
        """Kept only for listeners of owners."""
        bus.on_reconnect(self._stale.set)
        bus.alerts.append(self.alerts)

    @property
    def ready(self) -> bool:
        """Whether a complete snapshot has been loaded."""
        return self._complete

    @property
    def current(self) -> bool:
        """Whether the copy is complete and following the bus, with no known gap."""
        return self._complete and self._bus.connected and not self._stale.is_set() and self._pending is None

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return iter(self._entries.items())

    def get(self, key: str) -> Entry | None:
        """Return the current entry for `key`."""
        return self._entries.get(key)

    def alerts(self) -> list[str]:
        """Return what an operator has to do about entries that cannot be read; nothing without any."""
        if not self.unreadable:
            return []
        named = ", ".join(f"{key} ({why})" for key, why in sorted(self.unreadable.items())[:_MAX_NAMED])
        more = f" and {len(self.unreadable) - _MAX_NAMED} more" if len(self.unreadable) > _MAX_NAMED else ""
        text = (
            f"entries of the view {self.bucket.name} cannot be read, and what they say is not in force: {named}{more}; save anew"
            f" what they are about, or restart the {self.bucket.owner}, which writes anew what it has in its tables"
        )
        return [text]

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change, to update what is derived from all entries."""
        self._listeners.append(listener)

    def on_owner_change(self, listener: "OwnerListener[Entry]") -> None:
        """Call `listener` with an owner and all its entries after each change of one of them; register before `start`.

        The owner is what a key has before its first dot. What is derived from one owner's entries then takes as long to update
        as that owner has entries, however many owners there are.
        """
        self._owner_listeners.append(listener)

    def on_entry_change(self, listener: "EntryListener[Entry]") -> None:
        """Call `listener` with each key that has changed, and its entry; register before `start`.

        For what is derived from single entries of a view that may be large and change often.
        """
        self._entry_listeners.append(listener)

    async def start(self) -> None:
        """Subscribe and begin to follow; `ready` turns true once the first copy is complete."""
        await self._bus.client.subscribe(f"{self.bucket.view_prefix}>", cb=self._on_update)
        self._stale.set()
        self._tasks = [
            asyncio.create_task(self._follow(), name=f"view {self.bucket.name}"),
            asyncio.create_task(self._verify(), name=f"check of the view {self.bucket.name}"),
        ]

    async def stop(self) -> None:
        """Stop following; the copy remains as it is."""
        for task in self._tasks:
            await cancel_and_wait(task)

    async def _verify(self) -> None:
        """Take a new snapshot whenever a change has not arrived: without a next one, no gap shows that it is missing."""
        while True:
            await asyncio.sleep(_VERIFY_SECONDS * random.uniform(0.5, 1.5))
            if not self.current:
                continue
            try:
                last = await last_sequence(self._bus.client, self.bucket)
            except SnapshotFailed:
                continue
            await asyncio.sleep(_UNDER_WAY_SECONDS if last > self._seq else 0)
            if last > max(self._seq, self._verified):
                _log.warning("a change of a view was lost on its way", extra={"view": self.bucket.name})
                self._verified = last
                self._stale.set()

    async def _follow(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                self._pending = []
                entries, seq = await snapshot(self._bus.client, self.bucket)
            except SnapshotFailed as error:
                _log.info("no snapshot yet", extra={"view": self.bucket.name, "reason": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)
                self._stale.set()
                continue
            if not self._install(entries, seq):
                await asyncio.sleep(_RETRY_SECONDS)
                self._stale.set()

    def _install(self, raw: dict[str, bytes], seq: int) -> bool:
        """Install a snapshot, then the updates that arrived meanwhile. Return False for a snapshot that is not complete yet."""
        if raw.pop(COMPLETE, None) is None:
            return False
        before, unreadable = self._entries, self.unreadable
        self._entries, self.unreadable = {}, {}
        for key, value in raw.items():
            self._read(key, value, known=unreadable)
        self._seq = seq
        self._complete = True
        pending, self._pending = self._pending or [], None
        for message in pending:
            self._apply(message)
        self._changed([key for key in {*before, *self._entries} if before.get(key) != self._entries.get(key)])
        return True

    async def _on_update(self, message: Msg) -> None:
        if self._pending is not None:
            self._pending.append(message)
        elif self._apply(message):
            self._changed((self._key(message),))

    def _apply(self, message: Msg) -> bool:
        headers = message.headers or {}
        seq = int(headers.get("Nats-Sequence", "0"))
        if seq <= self._seq:
            return False
        if seq != self._seq + 1:
            self._stale.set()
        self._seq = seq
        key = self._key(message)
        if key == COMPLETE:
            return False
        if headers.get("KV-Operation") in _DELETED:
            self._entries.pop(key, None)
            self.unreadable.pop(key, None)
        else:
            self._read(key, message.data, known=self.unreadable)
        return True

    def _key(self, message: Msg) -> str:
        return message.subject[len(self.bucket.view_prefix) :]

    def _changed(self, keys: Sequence[str]) -> None:
        if self.unreadable or self.unreadable_owners:
            self.unreadable_owners = frozenset(_owner_of(key) for key in self.unreadable)
        if self._owner_listeners:
            self._regroup(keys)
        for entry_listener in self._entry_listeners:
            for key in keys:
                entry_listener(key, self._entries.get(key))
        for listener in self._listeners:
            listener()

    def _regroup(self, keys: Iterable[str]) -> None:
        owners: dict[str, None] = {}
        for key in keys:
            owner = _owner_of(key)
            owners[owner] = None
            group = self._by_owner.setdefault(owner, {})
            if (entry := self._entries.get(key)) is None:
                group.pop(key, None)
            else:
                group[key] = entry
        for owner in owners:
            group = self._by_owner[owner]
            if not group:
                del self._by_owner[owner]
            for listener in self._owner_listeners:
                listener(owner, group.values())

    def _read(self, key: str, value: bytes, *, known: Mapping[str, str]) -> None:
        """Put an entry into the copy, or among those that cannot be read. `known` are those that were logged before."""
        try:
            self._entries[key] = self._decode(key, value)
            self.unreadable.pop(key, None)
        except MalformedMessage as error:
            self._entries.pop(key, None)
            if known.get(key) != error.reason:
                _log.error(
                    "a view entry is malformed", extra={"view": self.bucket.name, "key": key, "why": error.reason}
                )
            self.unreadable[key] = error.reason

    def _decode(self, key: str, value: bytes) -> Entry:
        entry = self._entry.decode(value)
        if self.bucket.by_tenant and getattr(entry, "tenant", None) != _owner_of(key):
            raise MalformedMessage(self._entry.__name__, "it says that it belongs to another tenant")
        return entry


def _owner_of(key: str) -> str:
    return key.partition(".")[0]


class ViewWriter:
    """The owner's side of a bucket. Each write waits for the server's acknowledgement; errors are nats-py's own."""

    def __init__(self, client: Client, bucket: Bucket[Any]) -> None:
        self.bucket = bucket
        self._client = client
        self._jetstream: JetStreamContext = client.jetstream(timeout=_SNAPSHOT_TIMEOUT_SECONDS)

    async def put(self, key: str, value: bytes) -> None:
        """Write `key`."""
        await self._jetstream.publish(self.bucket.key_subject(key), value)

    async def delete(self, key: str) -> None:
        """Delete `key`."""
        await self._jetstream.publish(self.bucket.key_subject(key), b"", headers={"KV-Operation": "DEL"})

    async def complete(self) -> None:
        """Mark the bucket as complete, whatever it holds: for an owner that keeps its state nowhere else."""
        await self.put(COMPLETE, b"{}")

    async def reconcile(self, wanted: Mapping[str, bytes]) -> int:
        """Make the bucket hold exactly `wanted`, writing `_complete` last; return the number of changed keys."""
        present, _ = await snapshot(self._client, self.bucket)
        complete = present.pop(COMPLETE, None)
        changes = 0
        for key, value in wanted.items():
            if present.pop(key, None) != value:
                await self.put(key, value)
                changes += 1
        for key in present:
            await self.delete(key)
            changes += 1
        if complete is None:
            await self.put(COMPLETE, b"{}")
        return changes
