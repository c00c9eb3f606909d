"""A tenant directory with real servers, an operator, and an ingress that follows the views."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from nats.aio.msg import Msg

from keyferry.contracts import client_token
from keyferry.contracts.channels import Q, R
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.tenancy import ClientToken, CreateClientToken, CreateTenant, RevokeClientToken, Tenant
from keyferry.contracts.topology import (
    CLIENT_TOKENS_VIEW,
    SERVICE_PING,
    TENANT_CREATE,
    TENANTS_VIEW,
    TOKEN_CREATE,
    TOKEN_REVOKE,
    Role,
    Subject,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import KvView
from services.tenant_directory.app import create_app
from services.tenant_directory.settings import DirectorySettings
from tests.support.servers.provisioned_bus import ProvisionedBus, until_subscribed

TIMEOUT_SECONDS = 30.0
ASK_SECONDS = 10.0
PEPPER = Secret("a-pepper-for-tests-and-for-nothing-else")


@dataclass(frozen=True)
class DirectoryServers:
    """The servers of one test, and their credentials."""

    bus: ProvisionedBus
    admin_url: Secret
    database_url_file: Path
    pepper_file: Path

    def settings(self) -> DirectorySettings:
        return DirectorySettings(
            nats_url=self.bus.nats_url,
            nats_nkey_file=self.bus.seed_file(Role.TENANT_DIRECTORY),
            database_url_file=self.database_url_file,
            token_pepper_file=self.pepper_file,
            drain_seconds=5,
        )

    def environment(self) -> dict[str, str]:
        """Return the settings as an environment for a process of its own."""
        settings = self.settings()
        return {
            "KEYFERRY_NATS_URL": settings.nats_url,
            "KEYFERRY_NATS_NKEY_FILE": str(settings.nats_nkey_file),
            "KEYFERRY_DATABASE_URL_FILE": str(settings.database_url_file),
            "KEYFERRY_TOKEN_PEPPER_FILE": str(settings.token_pepper_file),
        }

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Service]:
        """Run a directory in this process until it is drained."""
        async with self.starting() as service, self.bus.connected(Role.OPERATOR) as bus:
            await until_it_reports_ready(bus, service.bus.instance_id)
            await until_subscribed(service.bus)
            yield service

    @asynccontextmanager
    async def starting(self) -> AsyncIterator[Service]:
        service = create_app(self.settings())
        life = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            service.app.exit()
            await asyncio.wait_for(life, TIMEOUT_SECONDS)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator["Operator"]:
        async with self.bus.connected(Role.OPERATOR) as bus:
            yield Operator(bus)

    @asynccontextmanager
    async def ingress(self) -> AsyncIterator["Follower"]:
        async with self.bus.connected(Role.INGRESS) as bus:
            follower = Follower(bus)
            await follower.tenants.start()
            await follower.tokens.start()
            try:
                yield follower
            finally:
                await follower.tenants.stop()
                await follower.tokens.stop()


class Follower:
    """The views of the ingress."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.tenants = KvView(bus, TENANTS_VIEW)
        self.tokens = KvView(bus, CLIENT_TOKENS_VIEW)

    @property
    def ready(self) -> bool:
        return self.tenants.ready and self.tokens.ready


class Operator:
    """An operator's requests."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def ask(self, subject: Subject[Q, R], question: Q) -> R:
        return await self.bus.ask(subject, question, timeout_seconds=ASK_SECONDS)

    async def create_tenant(self, tenant: str) -> Tenant:
        return await self.ask(TENANT_CREATE, CreateTenant(tenant=tenant, name=tenant.title()))

    async def create_token(self, tenant: str, digest: str = "") -> tuple[ClientToken, str]:
        """Create a token; return it as registered, and its key in the view."""
        digest = digest or new_digest()
        token = await self.ask(TOKEN_CREATE, token_command(tenant, digest))
        return token, client_token.fingerprint(digest, PEPPER)

    async def revoke(self, token: ClientToken) -> ClientToken:
        return await self.ask(TOKEN_REVOKE, RevokeClientToken(tenant=token.tenant, token_id=token.token_id))


async def until_it_reports_ready(operator: Bus, instance_id: str) -> None:
    """Ping until this process reports that it is ready: then it receives requests, too."""
    reports: list[ServiceReport] = []

    async def note(message: Msg) -> None:
        if message.data:
            reports.append(ServiceReport.decode(message.data))

    inbox = operator.client.new_inbox()
    await operator.client.subscribe(f"{inbox}.*", cb=note)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for number in count():
                if any(report.ready and report.instance_id == instance_id for report in reports):
                    return
                # A new inbox for each ping: the server lets one answer through to each.
                await operator.client.publish(SERVICE_PING.format(), Ping().encode(), reply=f"{inbox}.{number}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never ready; the last report: {reports[-1:]}") from None


def token_command(tenant: str, digest: str) -> CreateClientToken:
    return CreateClientToken(tenant=tenant, label="test", digest=digest, last4="wXyZ")


def new_digest() -> str:
    return secrets.token_hex(32)
