"""A real NATS server with the deployed permissions, users, streams and buckets."""

import asyncio
import atexit
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import nkeys
from nats.aio.client import Client

from deploy.nats.provision import provision
from deploy.nats.render import render_server_conf
from keyferry.contracts.topology import Role, inbox_prefix, users, worker_id
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings
from tests.support.servers.nats import NatsServer, nats_server, parent_of_stores
from tests.support.servers.server import wants_containers, working_dir
from tests.support.waiting import eventually


@dataclass(frozen=True)
class ProvisionedBus:
    """A provisioned bus. `server` can be killed, paused and restarted."""

    server: NatsServer
    seeds: Path
    store: Path
    """What the server stores, if it is no container."""

    @property
    def nats_url(self) -> str:
        """Where the server listens, on loopback."""
        return self.server.url

    def seed_file(self, user: str) -> Path:
        """Return the file with a user's nkey seed. `user` is a role's name, or a worker slot's such as `provider-worker-1`."""
        return self.seeds / f"{user}.seed"

    @asynccontextmanager
    async def client(self, user: str) -> AsyncIterator[Client]:
        """Connect with a user's rights. A refused publication or subscription fails the test at the end."""
        errors: list[Exception] = []

        async def note(error: Exception) -> None:
            errors.append(error)

        client = await nats.connect(
            self.nats_url,
            nkeys_seed_str=self.seed_file(user).read_text(),
            inbox_prefix=inbox_prefix(user).encode(),
            reconnect_time_wait=0.1,
            max_reconnect_attempts=-1,
            error_cb=note,
        )
        try:
            yield client
        finally:
            await client.close()
        refused = [str(error) for error in errors if "permissions violation" in str(error).lower()]
        assert not refused, f"the bus refuses {user}: {refused}"

    @asynccontextmanager
    async def connected(self, role: Role, slot: int = 1) -> AsyncIterator[Bus]:
        """Connect as a service does, but start nothing. `slot` is that of a provider worker."""
        user = worker_id(slot) if role is Role.PROVIDER_WORKER else role.value
        bus = Bus(role, ServiceSettings(nats_url=self.nats_url, nats_nkey_file=self.seed_file(user), slot=slot))
        await bus.connect()
        try:
            yield bus
        finally:
            await bus.broker.stop()


async def until_subscribed(bus: Bus, life: "asyncio.Task[None] | None" = None) -> None:
    """Wait until a service takes work, or its `life` has ended: until it pulls, and the server has all its queue subscriptions.

    They are made one after the other, after it has reported that it is ready. What is published before is lost.
    """

    def subscribed() -> bool:
        if life is not None and life.done():
            return True
        pulling = all(puller._task is not None for puller in bus._pullers)
        # A flush overtakes what waits to be written.
        return pulling and len(bus._queue_subscriptions) == len(declared) and not bus.client.pending_data_size

    declared = [raw for raw in bus._raw if raw.queue]
    await eventually("the service is subscribed", subscribed)
    await bus.client.flush()


@asynccontextmanager
async def provisioned_bus(
    directory: Path, *, worker_slots: int = 2, internal_clients: Sequence[str] = ()
) -> AsyncIterator[ProvisionedBus]:
    """Run a separate bus, provisioned. Seeds are in `directory`, one file per user."""
    if wants_containers():  # with a store of the container's own
        users = make_users(directory, worker_slots, internal_clients)
        async with _provisioning(directory, directory, users) as found:
            yield found
        return
    template = await _template(worker_slots, tuple(internal_clients))
    shutil.copytree(template.seeds, directory, dirs_exist_ok=True)
    with working_dir("keyferry-jetstream-", parent_of_stores()) as store:
        shutil.copytree(template.store, store, dirs_exist_ok=True)
        with _server(store, template.public_keys) as server:
            yield ProvisionedBus(server, directory, store)
            server.kill()  # a clean stop is slower, and nobody reads what it writes


@dataclass(frozen=True)
class _Template:
    """The seeds of a bus and what the server has stored after it was provisioned; copied in a fraction of the time."""

    seeds: Path
    store: Path
    public_keys: Mapping[str, str]


_templates: dict[tuple[int, tuple[str, ...]], _Template] = {}


async def _template(worker_slots: int, internal_clients: tuple[str, ...]) -> _Template:
    """Return the template of such a bus, made on first use in this process."""
    kind = (worker_slots, internal_clients)
    if kind not in _templates:
        files = Path(tempfile.mkdtemp(prefix="keyferry-bus-", dir=parent_of_stores()))
        atexit.register(shutil.rmtree, files, ignore_errors=True)
        seeds, store = files / "seeds", files / "store"
        for folder in (seeds, store):
            folder.mkdir()
        public_keys = make_users(seeds, worker_slots, internal_clients)
        async with _provisioning(seeds, store, public_keys):
            pass
        _templates[kind] = _Template(seeds, store, public_keys)
    return _templates[kind]


@asynccontextmanager
async def _provisioning(seeds: Path, store: Path, public_keys: Mapping[str, str]) -> AsyncIterator[ProvisionedBus]:
    with _server(store, public_keys) as server:
        found = ProvisionedBus(server, seeds, store)
        await asyncio.wait_for(provision(server.url, found.seed_file(Role.PROVISIONER)), timeout=30)
        yield found


def _server(store: Path, public_keys: Mapping[str, str]) -> AbstractContextManager[NatsServer]:
    conf = render_server_conf(dict(public_keys), port=-1, store_dir=store / "jetstream")
    return nats_server(conf, whole=True)


def make_users(directory: Path, worker_slots: int = 2, internal_clients: Sequence[str] = ()) -> dict[str, str]:
    """Make the seed file of every user. Return their public keys by user name."""
    return {user: _new_user(directory, user) for user in users(worker_slots, internal_clients)}


def _new_user(directory: Path, user: str) -> str:
    """Make a user's seed file. Return its public key."""
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    file = directory / f"{user}.seed"
    file.touch(mode=0o600)
    file.write_bytes(seed)
    return str(nkeys.from_seed(bytearray(seed)).public_key.decode())
