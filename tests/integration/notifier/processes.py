"""Notifiers in processes of their own, on a real bus and database, with a stand-in for the vault's answers about secrets."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psycopg
from sqlalchemy.engine import make_url

from deploy.nats.provision import consumer_config
from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alert_management import ALERT_CHANGED
from keyferry.contracts.integration_management import INTEGRATION_SECRET_LEASE_TO_NOTIFIER
from keyferry.contracts.integration_secrets import IntegrationSecretLease, LeaseIntegrationSecret
from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANTS_VIEW, Role, consumer_of
from keyferry.runtime.views import ViewWriter
from keyferry.sealing.integration_lease import seal_for_reader
from tests.integration.cli.answering import owner
from tests.integration.notifier.system import SECRET
from tests.support.servers.migrated_database import MigratedDatabase
from tests.support.servers.provisioned_bus import ProvisionedBus
from tests.support.servers.service_process import service_process

SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class NotifierServers:
    """The servers of one test."""

    bus: ProvisionedBus
    migrated: MigratedDatabase
    directory: Path

    @asynccontextmanager
    async def peers(self) -> AsyncIterator[None]:
        """Publish the views of an installation with the tenant acme, and answer for the vault while the block lasts."""
        async with self.bus.client(Role.TENANT_DIRECTORY) as directory:
            tenant = Tenant(tenant="acme", name="acme", tier=Tier.STARTER)
            await ViewWriter(directory, TENANTS_VIEW).reconcile({"acme": tenant.encode()})
            await ViewWriter(directory, MEMBERS_VIEW).reconcile({})
        async with owner(self.bus, Role.KEY_VAULT, INTEGRATION_SECRET_LEASE_TO_NOTIFIER, _lease):
            yield

    @asynccontextmanager
    async def process(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a notifier; it is killed at the end if it still runs."""
        environment = {
            "KEYFERRY_NATS_URL": self.bus.nats_url,
            "KEYFERRY_NATS_NKEY_FILE": str(self.bus.seed_file(Role.NOTIFIER)),
            "KEYFERRY_DATABASE_URL_FILE": str(self.migrated.url_files["notifier"]),
            "KEYFERRY_EGRESS_ALLOW": "127.0.0.0/8",
        }
        log = self.directory / f"notifier-{secrets.token_hex(4)}.log"
        async with service_process(Role.NOTIFIER, environment, log) as child:
            yield child

    async def redeliver_soon(self) -> None:
        """Have the bus deliver a dead process's messages again after a second."""
        consumer = consumer_of(Role.NOTIFIER, ALERT_CHANGED)
        config = consumer_config(consumer) | {"ack_wait": SECOND_NS}
        async with self.bus.client(Role.PROVISIONER) as client:
            reply = await client.request(
                f"$JS.API.CONSUMER.DURABLE.CREATE.{consumer.stream}.{consumer.durable}",
                orjson.dumps({"stream_name": consumer.stream, "config": config}),
                timeout=10,
            )
        assert b'"error"' not in reply.data, reply.data

    async def publish(self, changes: Iterable[AlertChanged]) -> None:
        """Publish changes of alerts as the ledger does."""
        async with self.bus.client(Role.USAGE_LEDGER) as ledger:
            jetstream = ledger.jetstream()
            for change in changes:
                headers = {"Nats-Msg-Id": change.message_id}
                await jetstream.publish(ALERT_CHANGED.address(change), change.encode(), timeout=20, headers=headers)

    async def connect(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """Connect to the database as its superuser. Each statement is committed, but in a transaction."""
        url = make_url(self.migrated.admin_url.reveal()).set(drivername="postgresql")
        return await psycopg.AsyncConnection.connect(url.render_as_string(hide_password=False), autocommit=True)

    async def end_claims(self) -> None:
        """Let the claims of a dead process run out, for which it would take a minute."""
        async with await self.connect() as connection:
            await connection.execute(
                "UPDATE notifier.deliveries SET claimed_until = now() - interval '1 second' WHERE claimed_until > now()"
            )


async def _lease(request: LeaseIntegrationSecret) -> IntegrationSecretLease:
    """Answer as the vault does, with one secret for every endpoint."""
    assert request.secret_id is not None
    sealed = seal_for_reader(request, request.secret_id, 1, Secret(SECRET))
    return IntegrationSecretLease(
        tenant=request.tenant, kind=request.kind, secret_id=request.secret_id, version=1, sealed=sealed
    )
