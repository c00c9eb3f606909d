"""The vault has a worker process test a key, over a bus with the deployed permissions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyferry.contracts.key import KeyTest, KeyTestResult
from keyferry.contracts.lease import RunKeyTest
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import KEY_TEST_RUN, WORKER_REGISTER, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.process.lifecycle import Service
from keyferry.sealing.delivery import Purpose, seal_to_worker
from keyferry.sealing.private_keys import private_key_text, public_key_text
from services.key_vault.leases.service import LeaseService, NoWorker
from services.provider_worker import app
from services.provider_worker.settings import ProviderWorkerSettings
from tests.integration.key_vault.vault_database import provider_key
from tests.integration.key_vault.vault_on_bus import VaultOnBus, now_unix_ms
from tests.integration.provider_worker.key_test.provider import KEY, json_reply, routes
from tests.integration.provider_worker.key_test.test_tester import COMPLETION, LIST, REFUSED
from tests.support.providers.raw_http_server import RawHttpServer, raw_http_server
from tests.support.servers.provisioned_bus import until_subscribed

ASK_SECONDS = 20.0
WORKER = "provider-worker-1"


@dataclass
class Vault:
    """A replica of the vault, and its connection."""

    lease_service: LeaseService
    bus: Bus
    on_bus: VaultOnBus

    async def check(self, double: RawHttpServer, key: str = KEY) -> KeyTest:
        facts = provider_key("acme", provider="openai", origin=double.url(""), base_url=double.url("/v1"))
        return await self.lease_service.test_key(facts, Secret(key), facts.base_url, {}, "gpt-4o-mini")

    async def message(self, double: RawHttpServer, **changes: object) -> RunKeyTest:
        """What `check` sends, with `changes` to what is sealed."""
        values: dict[str, object] = {
            "purpose": Purpose.KEY_TEST,
            "tenant": "acme",
            "nonce": "AAAAAAAAAAAAAAAAAAAAAA",
            "not_after_unix_ms": now_unix_ms() + 60_000,
            "signer": self.on_bus.signer,
        } | changes
        facts = provider_key("acme", provider="openai", origin=double.url(""), base_url=double.url("/v1"))
        (worker,) = list(await self.lease_service._list_live_workers(self.lease_service._clock()))
        sealed = seal_to_worker(Secret(KEY), values.pop("signer"), worker, facts, **values)  # type: ignore[arg-type]
        return RunKeyTest(key=sealed, base_url=facts.base_url, model="m")

    async def ask(self, message: RunKeyTest) -> KeyTest:
        return await self.bus.ask(KEY_TEST_RUN, message, timeout_seconds=ASK_SECONDS, worker=WORKER)


@pytest.fixture
async def vault(on_bus: VaultOnBus) -> AsyncIterator[Vault]:
    async with on_bus.bus.connected(Role.KEY_VAULT) as bus:
        lease_service = on_bus.lease_service(bus)
        bus.respond(WORKER_REGISTER, lease_service.register)
        await bus.broker.start()
        await bus.start()
        yield Vault(lease_service, bus, on_bus)
        await bus.leave()
        await bus.finish(5)


@asynccontextmanager
async def worker_process(on_bus: VaultOnBus, folder: Path, *, identity: bool = True) -> AsyncIterator[Service]:
    """A worker process that is registered with the vault, unless it has no identity there."""
    files = {"identity": private_key_text(on_bus.identities[1]).reveal(), "vault": public_key_text(on_bus.signer)}
    for name, text in files.items():
        (folder / name).write_text(text)
    known = {"identity_key_file": folder / "identity", "vault_public_key_file": folder / "vault"} if identity else {}
    settings = ProviderWorkerSettings.model_validate(
        {
            "nats_url": on_bus.bus.nats_url,
            "nats_nkey_file": on_bus.bus.seed_file(WORKER),
            "spool_dir": folder / "spool",
            "egress_allow": "127.0.0.0/8",
            "drain_seconds": 1,
            **known,
        }
    )
    service = app.create_app(settings)
    life = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await until_subscribed(service.bus, life)
            while identity and not on_bus.vault.rows("SELECT 1 FROM key_vault.workers"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        yield service
    finally:
        service.app.exit()
        await asyncio.wait_for(life, ASK_SECONDS)


async def test_a_key_is_tested_with_its_own_sealed_delivery(
    on_bus: VaultOnBus, vault: Vault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = routes({"GET": LIST, "POST": COMPLETION})
    async with worker_process(on_bus, tmp_path), raw_http_server(answers) as double:
        check = await vault.check(double)
        assert (check.result, check.models) == (KeyTestResult.VALID, ["text-embedding-3", "gpt-4o-mini"])
        assert {request.header("authorization") for request in double.requests} == {f"Bearer {KEY}"}
        other = f"{KEY}-other"
        assert (await vault.check(double, other)).result is KeyTestResult.VALID
        assert double.requests[-1].header("authorization") == f"Bearer {other}"
    assert KEY not in caplog.text


async def test_a_rejected_key_is_invalid_and_tests_run_concurrently(
    on_bus: VaultOnBus, vault: Vault, tmp_path: Path
) -> None:
    slow = json_reply("{}", "503 Service Unavailable")
    async with (
        worker_process(on_bus, tmp_path),
        raw_http_server(routes({}, REFUSED)) as bad,
        raw_http_server(routes({}, slow)) as down,
    ):
        checks = await asyncio.gather(vault.check(bad), vault.check(down), vault.check(bad))
    assert [check.result for check in checks] == [
        KeyTestResult.INVALID,
        KeyTestResult.INCONCLUSIVE,
        KeyTestResult.INVALID,
    ]


async def test_a_key_not_delivered_for_a_test_is_rejected(on_bus: VaultOnBus, vault: Vault, tmp_path: Path) -> None:
    """Forged, for a lease, expired or replayed: no call is made."""
    async with worker_process(on_bus, tmp_path), raw_http_server(routes({"GET": LIST, "POST": COMPLETION})) as double:
        hostile: dict[str, dict[str, object]] = {
            "not signed by the vault": {"signer": on_bus.identities[1]},
            "signed by the vault that this worker trusts": {"purpose": Purpose.LEASE},
            "time is over": {"not_after_unix_ms": now_unix_ms() - 1},
        }
        for detail, changes in hostile.items():
            with pytest.raises(Refused, match=detail) as refused:
                await vault.ask(await vault.message(double, **changes))
            assert refused.value.refusal.code is ErrorCode.INVALID
        message = await vault.message(double)
        changed = message.model_copy(update={"key": message.key.model_copy(update={"origin": "https://evil.example"})})
        with pytest.raises(Refused, match="not signed by the vault"):
            await vault.ask(changed)
        assert double.connections == 0
        assert (await vault.ask(message)).result is KeyTestResult.VALID
        calls = len(double.requests)
        with pytest.raises(Refused, match="delivered before"):
            await vault.ask(message)
        assert len(double.requests) == calls


async def test_the_base_url_of_a_test_cannot_redirect_the_key(on_bus: VaultOnBus, vault: Vault, tmp_path: Path) -> None:
    async with (
        worker_process(on_bus, tmp_path),
        raw_http_server(routes({}, COMPLETION)) as own,
        raw_http_server(routes({}, COMPLETION)) as foreign,
    ):
        message = (await vault.message(own)).model_copy(update={"base_url": foreign.url("/v1")})
        check = await vault.ask(message)
        assert check.result is KeyTestResult.INCONCLUSIVE
        assert (own.connections, foreign.connections) == (0, 0)


async def test_a_worker_without_an_identity_reports_it_and_the_vault_finds_none(
    on_bus: VaultOnBus, vault: Vault, tmp_path: Path
) -> None:
    async with worker_process(on_bus, tmp_path, identity=False), raw_http_server(routes({})) as double:
        with pytest.raises(NoWorker):
            await vault.check(double)
        other = await anyones_message(on_bus, double)
        with pytest.raises(Refused, match="no identity with the key vault") as refused:
            await vault.ask(other)
        assert refused.value.refusal.code is ErrorCode.UNAVAILABLE


async def test_a_disallowed_reply_subject_gets_no_answer(on_bus: VaultOnBus, vault: Vault, tmp_path: Path) -> None:
    async with worker_process(on_bus, tmp_path), raw_http_server(routes({"GET": LIST, "POST": COMPLETION})) as double:
        message = await vault.message(double)
        for disallowed in ("_INBOX_ingress.x", "kf.v1.attempt.run.openai"):
            await vault.bus.client.publish(KEY_TEST_RUN.format(worker=WORKER), message.encode(), reply=disallowed)
        # Messages arrive in order: had one of those been accepted, this one would be a duplicate.
        assert (await vault.ask(message)).result is KeyTestResult.VALID


async def anyones_message(on_bus: VaultOnBus, double: RawHttpServer) -> RunKeyTest:
    """A test for a process that never registered."""
    async with on_bus.worker(2) as worker:
        facts = provider_key("acme", provider="openai", origin=double.url(""), base_url=double.url("/v1"))
        sealed = seal_to_worker(
            Secret(KEY),
            on_bus.signer,
            worker.registration(),
            facts,
            purpose=Purpose.KEY_TEST,
            tenant="acme",
            nonce="AAAAAAAAAAAAAAAAAAAAAA",
            not_after_unix_ms=now_unix_ms() + 60_000,
        )
    return RunKeyTest(key=sealed, base_url=facts.base_url)
