"""The directory's views: changes arrive at once, and outages and tampering are repaired."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from nats.aio.msg import Msg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.nats.provision import provision
from keyferry.contracts import client_token, ids
from keyferry.contracts.tenancy import (
    ClientToken,
    CreateTenant,
    RevokeClientToken,
    Tenant,
    Tier,
    TierSource,
    UpdateTenant,
)
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANT_UPDATE, TENANTS_VIEW, Bucket, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.engine import engine_for
from keyferry.runtime.database.outbox import enqueue
from keyferry.runtime.views import COMPLETE, SnapshotFailed, ViewWriter, snapshot
from services.tenant_directory.client_token_store import ClientTokenStore
from services.tenant_directory.store import DirectoryStore
from services.tenant_directory.tables import outbox
from tests.integration.tenant_directory.processes import (
    PEPPER,
    TIMEOUT_SECONDS,
    DirectoryServers,
    Follower,
    new_digest,
    token_command,
)
from tests.support.waiting import eventually

REVOCATIONS = 10


@asynccontextmanager
async def tables(servers: DirectoryServers) -> AsyncIterator[tuple[DirectoryStore, AsyncEngine]]:
    """Yield the tables as a process sees them that dies after each commit, before it publishes anything."""
    engine = engine_for(servers.settings())
    yield DirectoryStore(engine), engine
    await engine.dispose()


async def waiting_rows(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(outbox)) or 0


async def bucket_is(bus: Bus, bucket: Bucket[Any], expected: dict[str, bytes]) -> bool:
    entries, _ = await read(bus, bucket)
    return entries == {**expected, COMPLETE: b"{}"}


async def read(bus: Bus, bucket: Bucket[Any]) -> tuple[dict[str, bytes], int]:
    """Return a bucket's entries and last sequence, retrying while the server is busy."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with suppress(SnapshotFailed):
                return await snapshot(bus.client, bucket)


async def buckets_agree(store: DirectoryStore, bus: Bus) -> bool:
    expected = await store.view_contents()
    return all(
        [await bucket_is(bus, bucket, dict(expected[bucket.name])) for bucket in (TENANTS_VIEW, CLIENT_TOKENS_VIEW)]
    )


def holds(ingress: Follower, fingerprint: str, token: ClientToken) -> bool:
    return ingress.tokens.get(fingerprint) == token


async def test_a_revocation_is_seen_by_the_ingress(servers: DirectoryServers) -> None:
    async with servers.process(), servers.operator() as operator, servers.ingress() as ingress:
        await operator.create_tenant("acme")
        for _ in range(REVOCATIONS):
            token, fingerprint = await operator.create_token("acme")
            await eventually("the token is in the view", partial(ingress.tokens.get, fingerprint))
            assert ingress.tokens.get(fingerprint) == token
            revoked = await operator.revoke(token)
            assert revoked.revoked_at is not None
            await eventually("its revocation is, too", partial(holds, ingress, fingerprint, revoked))


async def test_a_suspension_is_seen_by_ingress_and_router(servers: DirectoryServers) -> None:
    async with servers.process(), servers.operator() as operator, servers.ingress() as ingress:
        tenant = await operator.create_tenant("acme")
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme") == tenant)
        await operator.ask(TENANT_UPDATE, UpdateTenant(tenant="acme", suspended=True))
        await eventually("it is suspended", lambda: ingress.tenants.get("acme") != tenant)
        assert ingress.tenants.get("acme") == tenant.model_copy(update={"suspended": True})


async def test_the_platforms_tenant_exists_from_the_start(servers: DirectoryServers) -> None:
    async with servers.process(), servers.ingress() as ingress:
        await eventually("the views are whole", lambda: ingress.ready)
        platform = Tenant(tenant="platform", name="Platform", tier=Tier.ENTERPRISE, tier_set_by=TierSource.OPERATOR)
        assert dict(ingress.tenants) == {"platform": platform}
        assert len(ingress.tokens) == 0


async def test_readers_are_not_ready_before_the_first_reconciliation(servers: DirectoryServers) -> None:
    async with servers.ingress() as ingress:
        async with tables(servers) as (store, _):
            await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        assert not ingress.ready
        async with servers.process():
            await eventually("the views are whole", lambda: ingress.ready)


async def test_changes_during_a_nats_outage_are_published_afterwards(servers: DirectoryServers) -> None:
    async with (
        servers.process() as service,
        servers.ingress() as ingress,
        tables(servers) as (
            store,
            engine,
        ),
    ):
        await eventually("the views are whole", lambda: ingress.ready)
        states: list[bytes] = []

        async def note(message: Msg) -> None:
            states.append(message.data)

        await ingress.bus.client.subscribe(f"{CLIENT_TOKENS_VIEW.view_prefix}>", cb=note)
        servers.bus.server.kill()
        await eventually("the directory is not ready", lambda: not service.ready)
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        fingerprint = client_token.fingerprint(digest := new_digest(), PEPPER)
        tokens = ClientTokenStore(engine, partial(datetime.now, UTC))
        token = await tokens.register_token(token_command("acme", digest), fingerprint, ids.new(ids.CLIENT_TOKEN))
        await tokens.revoke_token(RevokeClientToken(tenant="acme", token_id=token.token_id))
        assert await waiting_rows(engine) == 3
        servers.bus.server.restart()
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme"))
        await eventually("so is the token", lambda: ingress.tokens.get(fingerprint))
        assert all(b"revoked_at" in state for state in states), "an older state must not show up after the newer one"
        await eventually("the directory is ready again", lambda: service.ready)
        await until_published(engine)


async def test_a_successor_publishes_what_its_predecessor_committed(servers: DirectoryServers) -> None:
    async with tables(servers) as (store, engine), servers.bus.connected(Role.TENANT_DIRECTORY) as bus:
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        assert await waiting_rows(engine) == 1
        async with servers.process():
            assert await waiting_rows(engine) == 0
            assert await buckets_agree(store, bus)


async def test_a_commit_of_another_process_is_published_without_a_wake(servers: DirectoryServers) -> None:
    async with servers.process(), servers.ingress() as ingress, tables(servers) as (store, _):
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme"))


async def test_a_rolled_back_change_is_never_published(servers: DirectoryServers) -> None:
    async with servers.process(), servers.ingress() as ingress, tables(servers) as (store, engine):
        async with engine.begin() as connection:
            await enqueue(connection, outbox, TENANTS_VIEW.name, "ghost", b"{}")
            await connection.rollback()
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme"))
        assert {key for key, _ in ingress.tenants} == {"acme", "platform"}


async def test_a_null_deletes_and_order_is_kept(servers: DirectoryServers) -> None:
    async with servers.process(), servers.ingress() as ingress, tables(servers) as (store, engine):
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme"))
        async with engine.begin() as connection:
            for number in range(1200):
                value = Tenant(tenant="acme", name=f"Acme {number}", tier=Tier.FREE).encode()
                await enqueue(connection, outbox, TENANTS_VIEW.name, "acme", value)
            await enqueue(connection, outbox, TENANTS_VIEW.name, "platform", None)
        await eventually("the key is gone", lambda: ingress.tenants.get("platform") is None)
        last = ingress.tenants.get("acme")
        assert last is not None
        assert last.name == "Acme 1199"


async def test_a_row_for_a_view_of_another_build_does_not_stop_the_others(servers: DirectoryServers) -> None:
    async with servers.process(), servers.ingress() as ingress, tables(servers) as (store, engine):
        async with engine.begin() as connection:
            await enqueue(connection, outbox, "unheard_of", "key", b"{}")
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        await eventually("the tenant is in the view", lambda: ingress.tenants.get("acme"))


async def test_a_tampered_bucket_is_repaired_at_the_start(servers: DirectoryServers) -> None:
    async with tables(servers) as (store, _), servers.bus.connected(Role.TENANT_DIRECTORY) as bus:
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        await store.create_tenant(CreateTenant(tenant="other", name="Other"))
        async with servers.process():
            assert await buckets_agree(store, bus)
        writer = ViewWriter(bus.client, TENANTS_VIEW)
        await writer.put("acme", Tenant(tenant="acme", name="Mine now", tier=Tier.ENTERPRISE).encode())
        await writer.put("intruder", Tenant(tenant="intruder", name="Intruder", tier=Tier.ENTERPRISE).encode())
        await writer.delete("other")
        assert not await buckets_agree(store, bus)
        async with servers.process():
            assert await buckets_agree(store, bus)


async def test_nothing_is_written_at_a_start_when_nothing_differs(servers: DirectoryServers) -> None:
    async with servers.bus.connected(Role.TENANT_DIRECTORY) as bus:
        async with servers.process(), servers.operator() as operator:
            await operator.create_tenant("acme")
            token, _ = await operator.create_token("acme")
            await operator.revoke(token)
            async with tables(servers) as (_, engine):
                await until_published(engine)
        before = [await read(bus, bucket) for bucket in (TENANTS_VIEW, CLIENT_TOKENS_VIEW)]
        async with servers.process():
            after = [await read(bus, bucket) for bucket in (TENANTS_VIEW, CLIENT_TOKENS_VIEW)]
        assert after == before


async def test_a_lost_bucket_is_filled_again_complete_last(servers: DirectoryServers) -> None:
    written: list[str] = []

    async def note(message: Msg) -> None:
        written.append(message.subject)

    async with tables(servers) as (store, _), servers.bus.connected(Role.PROVISIONER) as bus:
        for name in ("acme", "other", "third"):
            await store.create_tenant(CreateTenant(tenant=name, name=name))
        async with servers.process():
            assert await buckets_agree(store, bus)
        await bus.jetstream.delete_stream(TENANTS_VIEW.stream)
        await provision(servers.bus.nats_url, servers.bus.seed_file(Role.PROVISIONER))
        assert (await read(bus, TENANTS_VIEW))[0] == {}
        await bus.client.subscribe(f"{TENANTS_VIEW.view_prefix}>", cb=note)
        async with servers.process():
            await eventually("the bucket is whole", lambda: f"{TENANTS_VIEW.view_prefix}{COMPLETE}" in written)
            assert await buckets_agree(store, bus)
        keys = [subject.removeprefix(TENANTS_VIEW.view_prefix) for subject in written]
        first_complete = keys.index(COMPLETE)
        assert set(keys[:first_complete]) == {"acme", "other", "third", "platform"}
        assert set(keys[first_complete:]) == {COMPLETE}


async def test_a_missing_bucket_is_reported_and_awaited(
    servers: DirectoryServers, caplog: pytest.LogCaptureFixture
) -> None:
    async with servers.bus.connected(Role.PROVISIONER) as bus:
        await bus.jetstream.delete_stream(TENANTS_VIEW.stream)
        async with servers.starting() as service:
            await eventually("it is logged", lambda: "because of NATS" in caplog.text)
            assert service.waiting_for() == ["PostgreSQL, and the reconciled views"]
            await provision(servers.bus.nats_url, servers.bus.seed_file(Role.PROVISIONER))
            await eventually("it becomes ready", lambda: service.ready)
            async with tables(servers) as (store, _):
                assert await buckets_agree(store, bus)


async def test_a_server_restored_with_an_older_bucket_is_reconciled(
    servers: DirectoryServers,
) -> None:
    async with servers.process() as service, tables(servers) as (store, _):
        await store.create_tenant(CreateTenant(tenant="acme", name="Acme"))
        async with servers.bus.connected(Role.PROVISIONER) as bus:
            async with tables(servers) as (_, engine):
                await until_published(engine)
            # Simulates a restored backup while the directory runs and has nothing to publish.
            await bus.jetstream.purge_stream(TENANTS_VIEW.stream)
        servers.bus.server.kill()
        await eventually("the directory is not ready", lambda: not service.ready)
        servers.bus.server.restart()
        async with servers.ingress() as ingress:
            await eventually("the view is whole", lambda: ingress.tenants.get("acme"))


async def until_published(engine: AsyncEngine) -> None:
    async with asyncio.timeout(30):
        while await waiting_rows(engine):  # noqa: ASYNC110  # a row in a table has no event to wait for
            await asyncio.sleep(0.01)
