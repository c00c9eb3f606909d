"""A whole vault on real servers, with tenants, an operator, and a worker whose test results are scripted."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nats.aio.msg import Msg
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.contracts.audit import AuditEvent
from keyferry.contracts.channels import Q, R
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.internal_services import INTERNAL_SERVICES_VIEW
from keyferry.contracts.key import (
    AddKey,
    GetIntakeKey,
    KeyTest,
    KeyTestResult,
    KeyTestStep,
    ListKeys,
    ProviderKey,
    StepResult,
)
from keyferry.contracts.key_address import key_address
from keyferry.contracts.lease import Registered, RunKeyTest
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode, Refusal, refusal_reply
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, Tier
from keyferry.contracts.topology import (
    INTAKE_KEY_GET,
    KEY_ADD,
    KEY_LIST,
    KEY_TEST_RUN,
    PROVIDER_KEYS_VIEW,
    TENANTS_VIEW,
    WORKER_REGISTER,
    Role,
    Subject,
    worker_id,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import ServiceSettings
from keyferry.runtime.views import ViewWriter, snapshot
from keyferry.sealing import registration
from keyferry.sealing.delivery import Purpose, Recipient, open_sealed
from keyferry.sealing.framing import to_base64
from keyferry.sealing.intake import seal_key
from keyferry.sealing.private_keys import private_key_text, public_key_text, verifying_key
from services.key_vault.app import create_app
from services.key_vault.database.tables import event_outbox
from services.key_vault.settings import VaultSettings
from tests.integration.key_vault.vault_database import Stores
from tests.support.servers.provisioned_bus import ProvisionedBus
from tests.support.vault.grants import Granting

TIMEOUT_SECONDS = 30.0
ASK_SECONDS = 20.0
WORKER = worker_id(1)
TIERS = {"acme": Tier.PROFESSIONAL, "starter": Tier.STARTER, "free": Tier.FREE, "globex": Tier.ENTERPRISE}


def openai_key(name: str = "") -> Secret:
    """A key that looks like OpenAI's; the same name gives the same key."""
    return Secret(f"sk-proj-{(name or secrets.token_hex(12)):x<40}A9f2")


@dataclass
class KeyFiles:
    """The files of a vault and of one enrolled worker."""

    folder: Path
    identity: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    signer: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    intake: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    granting: Granting = field(default_factory=Granting)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        contents = {
            "deployment-id": "dep_test",
            "keks": f"first {to_base64(secrets.token_bytes(32))}\n",
            "intake-key": private_key_text(self.intake).reveal(),
            "signing-key": private_key_text(self.signer).reveal(),
            "fingerprint-key": to_base64(secrets.token_bytes(32)),
            "enrolled-workers": json.dumps({WORKER: public_key_text(self.identity)}),
            "grant-keys": self.granting.file_text,
            "credit-key.pub": public_key_text(self.granting.ledger),
        }
        for name, content in contents.items():
            self.write(name, content)

    def write(self, name: str, content: str) -> None:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(content)

    def __getitem__(self, name: str) -> Path:
        return self.folder / name


@dataclass
class VaultService:
    """A vault's servers, files and settings."""

    bus: ProvisionedBus
    database_url_file: Path
    files: KeyFiles

    def settings(self, **changes: object) -> VaultSettings:
        values: dict[str, object] = {
            "nats_url": self.bus.nats_url,
            "nats_nkey_file": self.bus.seed_file(Role.KEY_VAULT),
            "database_url_file": self.database_url_file,
            "deployment_id_file": self.files["deployment-id"],
            "keks_file": self.files["keks"],
            "intake_key_file": self.files["intake-key"],
            "signing_key_file": self.files["signing-key"],
            "fingerprint_key_file": self.files["fingerprint-key"],
            "enrolled_workers_file": self.files["enrolled-workers"],
            "grant_keys_file": self.files["grant-keys"],
            "credit_public_key_file": self.files["credit-key.pub"],
            "drain_seconds": 5,
        }
        return VaultSettings.model_validate(values | changes)

    @asynccontextmanager
    async def vault(self, **changes: object) -> AsyncIterator[Service]:
        """Run a vault in this process, from ready to drained."""
        await self.publish_tenants()
        service = create_app(self.settings(**changes))
        life = asyncio.create_task(service.run())
        try:
            await eventually("the vault is ready", lambda: service.ready or life.done())
            if not life.done():
                await _until_it_answers(self)
            else:
                await life
            yield service
        finally:
            service.app.exit()
            await asyncio.wait_for(life, TIMEOUT_SECONDS)

    async def publish_tenants(self, tiers: Mapping[str, Tier] = TIERS) -> None:
        """Publish tenants, and that they have no internal services, as the tenant directory does."""
        known = {name: Tenant(tenant=name, name=name.title(), tier=tier) for name, tier in tiers.items()}
        known[PLATFORM_TENANT] = Tenant(tenant=PLATFORM_TENANT, name="Platform", tier=Tier.ENTERPRISE)
        async with self.bus.client(Role.TENANT_DIRECTORY) as client:
            await ViewWriter(client, TENANTS_VIEW).reconcile({name: t.encode() for name, t in known.items()})
            await ViewWriter(client, INTERNAL_SERVICES_VIEW).reconcile({})

    @asynccontextmanager
    async def stores(self) -> AsyncIterator[Stores]:
        """Open the tables beside the running service."""
        engine = create_async_engine(self.database_url_file.read_text().strip())
        try:
            yield Stores.on(engine)
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def operator(self) -> AsyncIterator["Operator"]:
        async with self.bus.connected(Role.OPERATOR) as bus:
            yield Operator(bus)

    @asynccontextmanager
    async def worker(self, *, register: bool = True) -> AsyncIterator["Worker"]:
        """Connect a registered provider worker with scripted test results."""
        seed = self.bus.seed_file(WORKER)
        bus = Bus(Role.PROVIDER_WORKER, ServiceSettings(nats_url=self.bus.nats_url, nats_nkey_file=seed, slot=1))
        await bus.connect()
        worker = Worker(bus, self.files)
        try:
            await worker.start(register=register)
            yield worker
        finally:
            await bus.broker.stop()

    async def entry(self, name: str) -> bytes:
        """Wait for a key's entry in the view and return it."""
        async with self.bus.client(Role.ROUTER) as client, asyncio.timeout(TIMEOUT_SECONDS):
            while (entry := (await snapshot(client, PROVIDER_KEYS_VIEW))[0].get(name)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return entry

    async def audited(self) -> list[AuditEvent]:
        """Return the audit events that were committed until now and not read before."""
        await self._published()
        async with self.bus.client(Role.USAGE_LEDGER) as client:
            jetstream = client.jetstream()
            pull = await jetstream.pull_subscribe_bind(durable=Role.USAGE_LEDGER.value, stream="AUDIT")
            found: list[AuditEvent] = []
            try:
                more = 1
                while more:
                    batch = await pull.fetch(100, timeout=1)
                    found += [AuditEvent.decode(message.data) for message in batch]
                    for message in batch:
                        await message.ack()
                    more = batch[-1].metadata.num_pending
            except TimeoutError:
                return found
        return found

    async def execute(self, sql: str) -> None:
        """Change the tables behind the vault's back."""
        engine = create_async_engine(self.database_url_file.read_text().strip())
        try:
            async with engine.begin() as connection:
                await connection.execute(text(sql))
        finally:
            await engine.dispose()

    async def _published(self) -> None:
        engine = create_async_engine(self.database_url_file.read_text().strip())
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while True:
                    async with engine.connect() as connection:
                        if not await connection.scalar(select(func.count()).select_from(event_outbox)):
                            return
                    await asyncio.sleep(0.01)
        finally:
            await engine.dispose()


async def _until_it_answers(vault_service: VaultService) -> None:
    """Wait until the service, which subscribes shortly after it is ready, answers."""
    async with vault_service.operator() as operator:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                try:
                    await operator.bus.ask(INTAKE_KEY_GET, GetIntakeKey(), timeout_seconds=1)
                    return
                except Exception:
                    await asyncio.sleep(0.02)


class Operator:
    """A client with the operator's credentials."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def ask(self, subject: Subject[Q, R], question: Q) -> R:
        return await self.bus.ask(subject, question, timeout_seconds=ASK_SECONDS)

    async def sealed(
        self,
        secret: Secret,
        tenant: str = "acme",
        provider: str = "openai",
        base_url: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> str:
        """Seal a key as the command line does."""
        intake = await self.ask(INTAKE_KEY_GET, GetIntakeKey())
        address = key_address(
            provider,
            base_url,
            fields or {},
            operator_urls=intake.base_urls,
            private_networks=intake.private_networks,
        )
        return seal_key(intake.public_key, tenant, provider, address.origin, secret)

    async def add(self, secret: Secret, tenant: str = "acme", provider: str = "openai", **more: object) -> ProviderKey:
        sealed = await self.sealed(secret, tenant, provider)
        values = {"tenant": tenant, "provider": provider, "sealed": sealed, "label": "main"} | more
        return await self.ask(KEY_ADD, AddKey.model_validate(values))

    async def keys(self, tenant: str = "acme") -> list[ProviderKey]:
        return (await self.ask(KEY_LIST, ListKeys(tenant=tenant))).keys


class Worker:
    """A worker that opens keys sealed to it, and returns scripted test results."""

    def __init__(self, bus: Bus, files: KeyFiles) -> None:
        self.bus = bus
        self._files = files
        self._private = X25519PrivateKey.generate()
        self.tested: list[tuple[Secret, RunKeyTest]] = []
        self.says: Callable[[Secret], KeyTest | None] = lambda _: valid()
        """The result by key; null to refuse."""

    async def start(self, *, register: bool) -> None:
        await self.bus.client.subscribe(KEY_TEST_RUN.format(worker=WORKER), cb=self._on_check)
        await self.bus.client.flush()
        if register:
            await self.register()

    async def register(self) -> Registered:
        signed = registration.sign(
            self._files.identity,
            worker_id=WORKER,
            instance_id=self.bus.instance_id,
            public_key=self._private.public_key().public_bytes_raw(),
            not_after_unix_ms=int(datetime.now(UTC).timestamp() * 1000) + 600_000,
        )
        return await self.bus.ask(WORKER_REGISTER, signed, timeout_seconds=ASK_SECONDS, worker=WORKER)

    async def _on_check(self, message: Msg) -> None:
        check = RunKeyTest.decode(message.data)
        vault = verifying_key(public_key_text(self._files.signer))
        recipient = Recipient(WORKER, self.bus.instance_id, (self._private,), vault)
        secret = open_sealed(check.key, recipient, Purpose.KEY_TEST).for_origin(check.key.origin)
        self.tested.append((secret, check))
        said = self.says(secret)
        refusal = Refusal(code=ErrorCode.UNAVAILABLE, message="this worker is busy")
        await message.respond(said.encode() if said is not None else refusal_reply(refusal))


def check(result: KeyTestResult, failure: FailureClass | None, *passed: bool | None) -> KeyTest:
    """Return a test with these steps."""
    steps = [
        StepResult(step=step, passed=how, duration_ms=None if how is None else 5, detail="scripted")
        for step, how in zip(KeyTestStep, (*passed, None, None, None, None)[:4], strict=True)
    ]
    return KeyTest(
        result=result, steps=steps, failure_class=failure, duration_ms=15, tested_at=datetime.now(UTC), models=[]
    )


def valid() -> KeyTest:
    return check(KeyTestResult.VALID, None, True, True, True, True)


def rejected() -> KeyTest:
    return check(KeyTestResult.INVALID, FailureClass.AUTH, True, False)


def short_of_money() -> KeyTest:
    return check(KeyTestResult.DEGRADED, FailureClass.QUOTA, True, True, False)


def unreachable() -> KeyTest:
    return check(KeyTestResult.INCONCLUSIVE, FailureClass.UNREACHABLE, False)


async def eventually(what: str, condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds. Raises AssertionError naming `what` if it never does."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():  # noqa: ASYNC110  # a condition of any kind has no event to wait for
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None
