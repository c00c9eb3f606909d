"""One relay on its own: when it publishes, reconciles, and releases the lock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg
from sqlalchemy import func, select

from keyferry.contracts.tenancy import CreateTenant, Tenant, Tier
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.engine import engine_for
from keyferry.runtime.database.leader import RelayState
from keyferry.runtime.database.outbox import Relay
from keyferry.runtime.views import ViewWriter
from services.tenant_directory.store import DirectoryStore
from services.tenant_directory.tables import outbox
from tests.integration.tenant_directory.processes import DirectoryServers, Follower
from tests.support.waiting import eventually

NEVER_SECONDS = 3600.0
ACME = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)


@asynccontextmanager
async def relay(
    servers: DirectoryServers,
    bus: Bus,
    *,
    poll_seconds: float = NEVER_SECONDS,
    reconcile_seconds: float = NEVER_SECONDS,
) -> AsyncIterator[tuple[Relay, DirectoryStore]]:
    """Run a relay with the store that it publishes for; the engine outlives the relay."""
    engine = engine_for(servers.settings())
    store = DirectoryStore(engine)
    writers = {bucket.name: ViewWriter(bus.client, bucket) for bucket in (TENANTS_VIEW, CLIENT_TOKENS_VIEW)}
    relay = Relay(
        engine, outbox, writers, store.view_contents, poll_seconds=poll_seconds, reconcile_seconds=reconcile_seconds
    )
    relay.start()
    try:
        yield relay, store
    finally:
        await relay.stop()
        await engine.dispose()


@asynccontextmanager
async def users(servers: DirectoryServers) -> AsyncIterator[tuple[Bus, Follower]]:
    async with servers.bus.connected(Role.TENANT_DIRECTORY) as bus, servers.ingress() as ingress:
        yield bus, ingress


async def test_it_publishes_when_it_is_woken(servers: DirectoryServers) -> None:
    async with users(servers) as (bus, ingress), relay(servers, bus) as (woken, store):
        await eventually("it leads", lambda: woken.state is RelayState.LEADING)
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        woken.wake()
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme") == ACME)


async def test_it_polls_the_outbox(servers: DirectoryServers) -> None:
    async with users(servers) as (bus, ingress), relay(servers, bus, poll_seconds=0.05) as (polling, store):
        await eventually("it leads", lambda: polling.state is RelayState.LEADING)
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme") == ACME)


async def test_it_reconciles_a_bucket_periodically(servers: DirectoryServers) -> None:
    written: list[str] = []

    async def note(message: Msg) -> None:
        written.append(message.subject.removeprefix(TENANTS_VIEW.view_prefix))

    async with (
        users(servers) as (bus, ingress),
        relay(servers, bus, poll_seconds=0.05, reconcile_seconds=0.1) as (_, store),
    ):
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme") == ACME)
        await ingress.bus.client.subscribe(f"{TENANTS_VIEW.view_prefix}>", cb=note)
        await ingress.bus.client.flush()
        writer = ViewWriter(bus.client, TENANTS_VIEW)
        await writer.put("acme", ACME.model_copy(update={"suspended": True}).encode())
        await writer.put("intruder", ACME.encode())
        await writer.delete("platform")
        await eventually(
            "each wrong write is followed by a correct one",
            lambda: all(written.count(key) == 2 for key in ("acme", "intruder", "platform")),
        )
        await eventually("the view is correct again", lambda: ingress.tenants.get("acme") == ACME)
        await eventually("and whole", lambda: {key for key, _ in ingress.tenants} == {"acme", "platform"})


async def test_it_reconciles_a_bucket_on_request(servers: DirectoryServers) -> None:
    async with users(servers) as (bus, ingress), relay(servers, bus) as (watched, _):
        await eventually("it leads", lambda: watched.state is RelayState.LEADING)
        intruder = ACME.model_copy(update={"tenant": "intruder"})
        await ViewWriter(bus.client, TENANTS_VIEW).put("intruder", intruder.encode())
        await eventually("the intruder is seen", lambda: ingress.tenants.get("intruder"))
        watched.recheck()
        await eventually("the intruder is gone", lambda: ingress.tenants.get("intruder") is None)


async def test_it_releases_the_lock_when_it_stops(servers: DirectoryServers) -> None:
    async with (
        users(servers) as (bus, _),
        relay(servers, bus, poll_seconds=0.05) as (first, store),
        relay(servers, bus, poll_seconds=0.05) as (second, _),
    ):
        await eventually("one leads", lambda: RelayState.LEADING in (first.state, second.state))
        await eventually("the other follows", lambda: RelayState.FOLLOWING in (first.state, second.state))
        leader, follower = (first, second) if first.state is RelayState.LEADING else (second, first)
        assert leader.synced
        assert follower.synced
        await leader.stop()
        assert not leader.synced
        await eventually("the follower leads", lambda: follower.state is RelayState.LEADING)
        # The stopped relay's pool is still open and working.
        assert [tenant.tenant for tenant in await store.list_tenants()] == ["platform"]


async def test_a_stopped_relay_publishes_and_deletes_nothing(servers: DirectoryServers) -> None:
    async with users(servers) as (bus, ingress), relay(servers, bus) as (stopped, store):
        await eventually("it leads", lambda: stopped.state is RelayState.LEADING)
        await stopped.stop()
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        stopped.wake()
        engine = engine_for(servers.settings())
        async with engine.connect() as connection:
            assert await connection.scalar(select(func.count()).select_from(outbox)) == 1
        await engine.dispose()
        assert ingress.tenants.get("acme") is None
        stopped.start()
        await eventually("started again it publishes", lambda: ingress.tenants.get("acme") == ACME)
