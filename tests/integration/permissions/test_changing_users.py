"""The users of a server that runs follow the directory's list of internal services.

A real server, its configuration written and read again as the launcher does it, and a real directory.
"""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats as nats_client
import pytest
from nats.aio.client import Client as NatsClient

from deploy.embedded import internal_users as following
from deploy.embedded import nats
from deploy.embedded.home import Home, generate_seed
from deploy.embedded.internal_users import InternalUsers
from deploy.embedded.process import spawn
from deploy.nats.internal_users import internal_users
from deploy.nats.provision import provision
from deploy.nats.render import render_server_conf
from deploy.postgres.roles import write_secret
from keyferry.client import CannotConnect, connect_with_credentials
from keyferry.client.credentials import ServiceCredentials, generate
from keyferry.contracts import topology
from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_CREATE,
    INTERNAL_SERVICE_REVOKE,
    CreateInternalService,
    RevokeInternalService,
)
from keyferry.contracts.tenancy import CreateTenant
from keyferry.contracts.topology import TENANT_CREATE, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings
from services.tenant_directory.app import create_app
from services.tenant_directory.settings import DirectorySettings
from tests.integration.permissions.access import (
    WORKER_SLOTS,
    Connection,
    literal_subjects,
    refused_publications,
    refused_subscriptions,
    subscriptions,
)
from tests.integration.permissions.expectations import should_publish, should_subscribe
from tests.integration.tenant_directory.processes import until_it_reports_ready
from tests.support.servers.migrated_database import migrated_database
from tests.support.servers.nats import NatsServer
from tests.support.servers.ports import find_free_port
from tests.support.servers.provisioned_bus import ProvisionedBus, until_subscribed
from tests.support.waiting import eventually, eventually_async

ASK_SECONDS = 60.0
FIRST = topology.internal_client("demo", "main")


@dataclass
class Installation:
    """A server whose users follow the list, as under the launcher."""

    home: Home
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.url = f"nats://127.0.0.1:{self.port}"
        self.users = self.new_users()

    def new_users(self) -> InternalUsers:
        """Return what a launcher begins with."""
        return InternalUsers(
            self.home,
            self.url,
            first_tenant="demo",
            users_of=lambda services: internal_users(services, self._own(), {FIRST: self.home.public_key(FIRST)})[0],
            write=self._write,
            server_pid=lambda: None if self.process is None else self.process.pid,
            log=lambda text: pytest.fail(text),
        )

    async def start(self) -> None:
        """Start the server with the users that are known."""
        self.users = self.new_users()
        self.process = spawn(nats.make_server_spec(nats.find_nats_server(), self.users.write_at_start()))
        await eventually("NATS accepts clients", lambda: nats.accepts_clients(self.port))

    def stop(self) -> None:
        """Kill the server."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Bus]:
        """Connect as the operator."""
        bus = Bus(Role.OPERATOR, ServiceSettings(nats_url=self.url, nats_nkey_file=self.home.seed_file("operator")))
        await bus.connect()
        try:
            yield bus
        finally:
            await bus.broker.stop()

    def bus(self) -> ProvisionedBus:
        """Return the server as the sweeps take it."""
        server = NatsServer.__new__(NatsServer)
        server.url = self.url
        return ProvisionedBus(server, self.home.secrets / "nkeys", self.home.nats)

    def credentials(self, tenant: str, name: str) -> ServiceCredentials:
        """Make credentials, and the seed file of their user."""
        made = generate(self.url, tenant, name)
        write_secret(self.home.secrets / "nkeys" / f"{made.user}.seed", made.nkey_seed.reveal())
        write_secret(self.file(made), made.to_text().reveal())
        return made

    def file(self, credentials: ServiceCredentials) -> Path:
        return self.home.path / f"{credentials.nkey_public}.json"

    def _own(self) -> dict[str, str]:
        return {user: self.home.public_key(user) for user in topology.users(WORKER_SLOTS)}

    def _write(self, programs: dict[str, str], probe_key: str | None) -> Path:
        draft, path = self.home.run / "draft.conf", self.home.run / "nats.conf"
        text = render_server_conf(self._own() | programs, port=self.port, store_dir=self.home.nats, probe_key=probe_key)
        draft.write_text(text)
        nats.check_configuration(nats.find_nats_server(), draft)
        return draft.replace(path)


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    home = Home(tmp_path / "home")
    home.prepare()
    found = Installation(home, find_free_port())
    await found.start()
    try:
        await provision(found.url, home.seed_file(Role.PROVISIONER))
        yield found
    finally:
        found.stop()


@asynccontextmanager
async def directory(installation: Installation, database: Path) -> AsyncIterator[None]:
    """Run the directory, and the launcher's part beside it."""
    pepper = installation.home.path / "pepper"
    pepper.write_text("a-pepper-for-tests-and-for-nothing-else")
    service = create_app(
        DirectorySettings(
            nats_url=installation.url,
            nats_nkey_file=installation.home.seed_file(Role.TENANT_DIRECTORY),
            database_url_file=database,
            token_pepper_file=pepper,
            drain_seconds=5,
        )
    )
    life = asyncio.create_task(service.run())
    following: asyncio.Task[None] | None = None
    try:
        async with installation.operator() as operator:
            await until_it_reports_ready(operator, service.bus.instance_id)
        await until_subscribed(service.bus, life)
        following = asyncio.create_task(installation.users.run())
        yield
    finally:
        if following is not None:
            following.cancel()
        service.app.exit()
        await asyncio.wait_for(life, ASK_SECONDS)


async def register(operator: Bus, made: ServiceCredentials) -> None:
    command = CreateInternalService(
        tenant=made.tenant, name=made.name, nkey_public=made.nkey_public, grant_public_key=made.grant_public_key
    )
    await operator.ask(INTERNAL_SERVICE_CREATE, command, timeout_seconds=ASK_SECONDS)


async def is_accepted(installation: Installation, made: ServiceCredentials) -> bool:
    try:
        async with connect_with_credentials(installation.file(made)):
            return True
    except CannotConnect:
        return False


async def until_accepted(installation: Installation, made: ServiceCredentials) -> None:
    await eventually_async(f"{made.user} is accepted", lambda: is_accepted(installation, made))


async def connect_watched(installation: Installation, user: str) -> tuple[NatsClient, asyncio.Event]:
    """Connect as `user`; the event is set when the connection breaks."""
    broken = asyncio.Event()

    async def note() -> None:
        broken.set()

    async def ignore(_: Exception) -> None:
        """The server's reason to close."""

    client = await nats_client.connect(
        installation.url,
        nkeys_seed_str=installation.bus().seed_file(user).read_text(),
        allow_reconnect=False,
        disconnected_cb=note,
        error_cb=ignore,
    )
    return client, broken


async def test_programs_come_and_go_while_the_server_runs(installation: Installation, tmp_path: Path) -> None:
    database = migrated_database(tmp_path / "database", "tenant_directory").url_files["tenant_directory"]
    crm, mail = installation.credentials("acme", "crm"), installation.credentials("acme", "mail")
    async with AsyncExitStack() as stack:
        async with directory(installation, database), installation.operator() as operator:
            router, router_broken = await connect_watched(installation, Role.ROUTER)
            stack.push_async_callback(router.close)
            assert not await is_accepted(installation, crm)
            await operator.ask(TENANT_CREATE, CreateTenant(tenant="acme", name="Acme"), timeout_seconds=ASK_SECONDS)
            for made in (crm, mail):
                await register(operator, made)
                await until_accepted(installation, made)

            user, attempted, wanted = crm.user, literal_subjects(), subscriptions()
            published = set(attempted) - await refused_publications(installation.bus(), user, attempted)
            assert published == {subject for subject in attempted if should_publish(user, subject)}
            subscribed = set(wanted) - await refused_subscriptions(installation.bus(), user, wanted)
            assert subscribed == {one for one in wanted if should_subscribe(user, *one)}

            _, crm_broken = await connect_watched(installation, crm.user)
            other, mail_broken = await connect_watched(installation, mail.user)
            stack.push_async_callback(other.close)
            command = RevokeInternalService(tenant="acme", name="crm")
            await operator.ask(INTERNAL_SERVICE_REVOKE, command, timeout_seconds=ASK_SECONDS)
            await installation.users.apply()
            assert not await is_accepted(installation, crm), "what `apply` has done holds when it returns"
            async with asyncio.timeout(ASK_SECONDS):
                await crm_broken.wait()
            await other.flush()
            await router.flush()
            assert not mail_broken.is_set()
            assert not router_broken.is_set()

            again = installation.credentials("acme", "crm")
            await register(operator, again)
            await until_accepted(installation, again)
            assert not await is_accepted(installation, crm)
        await stack.aclose()

    installation.stop()
    await installation.start()  # and no directory
    assert await is_accepted(installation, mail), "a restart begins with the last list"
    assert await is_accepted(installation, again)
    assert not await is_accepted(installation, crm)


async def test_the_first_program_is_let_in_before_there_is_a_directory(installation: Installation) -> None:
    async with Connection(installation.bus(), FIRST) as first:
        await first.client.publish(topology.CHAT_REQUEST.format(tenant="demo"), b"")
        assert await first.refusals() == []


async def test_a_server_that_does_not_read_its_configuration_is_reported(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher does not say that a revocation is done because a signal was sent."""
    monkeypatch.setattr(following, "_RELOAD_SECONDS", 0.5)
    with subprocess.Popen(["sleep", "600"]) as other:  # noqa: ASYNC220 - it starts at once
        installation.users._server_pid = lambda: other.pid
        with pytest.raises(following.UsersNotApplied, match="has not read its configuration"):
            await installation.users._reload(generate_seed())
        assert other.wait() == -signal.SIGHUP
    # Of twenty such waits one went on for ever, as nats-py lost the cancellation that was to end it.
    for _ in range(20):
        assert not await following._accepts_within(installation.url, generate_seed(), 0.05)
