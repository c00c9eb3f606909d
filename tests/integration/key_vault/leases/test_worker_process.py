"""A worker process uses a leased key: the upstream receives exactly that key, and nobody else does."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from keyferry.contracts import frames, ids
from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.chat import AttemptRun, Reroute
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.key import ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import ATTEMPT_RUN, INGRESS_INBOX, REQUEST_REROUTE, Role
from keyferry.contracts.usage import Outcome
from keyferry.runtime.process.lifecycle import Service
from keyferry.sealing.private_keys import private_key_text, public_key_text
from services.provider_worker import app
from services.provider_worker.app import create_app
from services.provider_worker.keys import lease_client as leasing
from services.provider_worker.settings import ProviderWorkerSettings
from tests.integration.key_vault.vault_database import act
from tests.integration.key_vault.vault_on_bus import VaultOnBus
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.upstream import Upstream, completion, running_upstream
from tests.support.servers.provisioned_bus import until_subscribed
from tests.support.vault.grants import Granting

KEY = Secret("sk-canary-0123456789abcdef")
NEXT_KEY = Secret("sk-canary-the-one-after-it")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
TIMEOUT_SECONDS = 30.0


@dataclass
class Caller:
    """A router that sends attempts and an ingress that receives their responses."""

    router: Client
    ingress: Client
    granting: Granting
    reroutes: list[Reroute] = field(default_factory=list)
    ends: dict[str, frames.End] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)

    async def listen(self) -> None:
        await self.ingress.subscribe(f"{INGRESS_INBOX}.>", cb=self._on_frame)
        await self.router.subscribe(REQUEST_REROUTE.pattern(), queue="router", cb=self._on_reroute)
        await self.ingress.flush()
        await self.router.flush()

    async def call(self, key: ProviderKey, body: bytes = BODY, **changes: object) -> AttemptRun:
        """Send an attempt with `key`, for a request that ingress signed, and wait for its end or its return."""
        run = attempt_run(base_url=key.base_url).model_copy(
            update={
                "attempt_id": ids.new(ids.ATTEMPT),
                "start_by_unix_ms": time.time_ns() // 1_000_000 + 20_000,
                "key_id": key.key_id,
                "key_owner": key.tenant,
                **changes,
            }
        )
        if "grant" not in changes:
            run = run.model_copy(update={"grant": self.granting.grant(run.tenant, run.request_id, body=BODY)})
        await self.router.publish(
            ATTEMPT_RUN.format(provider="custom"), run.with_body(body), reply=f"{INGRESS_INBOX}.test.{run.attempt_id}"
        )
        await eventually(
            "the attempt ends",
            lambda: (
                run.attempt_id in self.ends
                or any(r.failed_attempts[-1].attempt_id == run.attempt_id for r in self.reroutes)
            ),
        )
        return run

    async def _on_frame(self, message: Msg) -> None:
        frame = frames.decode(message.data)
        if isinstance(frame, frames.Accepted):
            self.accepted.append(frame.attempt_id)
        if isinstance(frame, frames.End):
            self.ends[frame.attempt_id] = frame

    async def _on_reroute(self, message: Msg) -> None:
        self.reroutes.append(Reroute.split(message.data)[0])


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream(lambda asked: completion("hello")) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for confirmations when a worker stops: no ledger runs here."""
    monkeypatch.setattr(app, "_CONFIRM_SECONDS", 0.01)


@pytest.fixture
async def caller(on_bus: VaultOnBus) -> AsyncIterator[Caller]:
    async with on_bus.bus.client(Role.ROUTER) as router, on_bus.bus.client(Role.INGRESS) as ingress:
        made = Caller(router, ingress, on_bus.granting)
        await made.listen()
        yield made


@asynccontextmanager
async def worker_process(on_bus: VaultOnBus, folder: Path) -> AsyncIterator[Service]:
    files = {"identity": private_key_text(on_bus.identities[1]).reveal(), "vault": public_key_text(on_bus.signer)}
    for name, text in files.items():
        (folder / name).write_text(text)
    settings = ProviderWorkerSettings.model_validate(
        {
            "nats_url": on_bus.bus.nats_url,
            "nats_nkey_file": on_bus.bus.seed_file("provider-worker-1"),
            "spool_dir": folder / "spool",
            "egress_allow": "127.0.0.0/8",
            "identity_key_file": folder / "identity",
            "vault_public_key_file": folder / "vault",
            "drain_seconds": 1,
        }
    )
    service = create_app(settings)
    life = asyncio.create_task(service.run())
    try:
        await until_subscribed(service.bus, life)
        yield service
    finally:
        service.app.exit()
        await asyncio.wait_for(life, TIMEOUT_SECONDS)


async def eventually(what: str, condition: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():  # noqa: ASYNC110  # a condition of any kind has no event to wait for
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


async def add(on_bus: VaultOnBus, upstream: Upstream, secret: Secret = KEY) -> ProviderKey:
    origin = f"http://127.0.0.1:{upstream.port}"
    key = await on_bus.add(secret, provider="custom", origin=origin, base_url=upstream.base_url)
    await on_bus.publish_view()
    return key


def seen(upstream: Upstream) -> list[str | None]:
    return [call.request.headers.get("Authorization") for call in upstream.calls]


async def test_upstream_sees_exactly_the_leased_key(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = await add(on_bus, upstream)
    captured: list[bytes] = []

    async def overhear(message: Msg) -> None:
        captured.append(message.subject.encode() + message.data)

    async with on_bus.bus.client(Role.PROVISIONER) as everybody:
        await everybody.subscribe(">", cb=overhear)
        await everybody.flush()
        async with on_bus.vault_process(), worker_process(on_bus, tmp_path):
            for _ in range(3):
                run = await caller.call(key)
                assert caller.ends[run.attempt_id].outcome is Outcome.COMPLETED
        await everybody.flush()
    assert seen(upstream) == [f"Bearer {KEY.reveal()}"] * 3
    assert len(on_bus.audited()) == 1, "one lease for all three"
    assert any(b"key.lease" in message for message in captured), "the bus was captured"
    assert not [message for message in captured if b"canary" in message]
    assert "canary" not in caplog.text
    assert not [file for file in (tmp_path / "spool").rglob("*") if file.is_file() and b"canary" in file.read_bytes()]


async def test_key_that_leaves_the_view_is_not_used_again(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    key = await add(on_bus, upstream)
    async with on_bus.vault_process(), worker_process(on_bus, tmp_path):
        await caller.call(key)
        await on_bus.vault.stores.keys.delete(key, act("key.remove", key), "A key was removed.")
        await on_bus.publish_view()
        # The view reaches the worker a moment later; until then the lease lasts.
        ended = caller.ends[(await caller.call(key)).attempt_id]
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while ended.outcome is Outcome.COMPLETED:
                ended = caller.ends[(await caller.call(key)).attempt_id]
        before = len(upstream.calls)
        again = caller.ends[(await caller.call(key)).attempt_id]
    assert again.failure is not None
    assert (again.failure.failure_class, again.failure.where) == (FailureClass.UNAVAILABLE, Where.NOT_SENT)
    assert f"has no key {key.key_id}" in again.failure.message
    assert len(upstream.calls) == before


async def test_attempt_without_a_key_returns_for_another_candidate(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a vault the request is planned again for its other candidate, and nothing is sent."""
    monkeypatch.setattr(leasing, "LAST_CANDIDATE_SECONDS", 1.0)
    key = await add(on_bus, upstream)
    async with worker_process(on_bus, tmp_path):
        await caller.call(key, remaining_candidates=1)
        (reroute,) = caller.reroutes
        assert reroute.failed_attempts[-1].failure.where is Where.NOT_SENT
        assert "key" in reroute.failed_attempts[-1].failure.message
        ended = caller.ends[(await caller.call(key)).attempt_id]
        assert ended.failure is not None
        assert ended.failure.failure_class is FailureClass.UNAVAILABLE
    assert upstream.calls == []


async def test_attempt_waits_for_a_vault_that_comes_back(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    key = await add(on_bus, upstream)
    async with worker_process(on_bus, tmp_path):
        calling = asyncio.create_task(caller.call(key))
        await eventually("the attempt is under on_bus", lambda: caller.accepted)
        async with on_bus.vault_process():
            ended = caller.ends[(await calling).attempt_id]
    assert ended.outcome is Outcome.COMPLETED
    assert seen(upstream) == [f"Bearer {KEY.reveal()}"]
    assert len(on_bus.audited()) == 1, "one lease was given, however often it was asked for"


async def test_lost_connection_evicts_leased_keys(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    """A key may have been revoked while disconnected, so it is leased again although its lease lasts."""
    key = await add(on_bus, upstream)
    async with on_bus.vault_process() as vault, worker_process(on_bus, tmp_path) as worker:
        await caller.call(key)
        await caller.call(key)
        assert len(on_bus.audited()) == 1
        await asyncio.to_thread(on_bus.bus.server.kill)
        await eventually("the worker reminders", lambda: not worker.bus.connected)
        await asyncio.to_thread(on_bus.bus.server.restart)
        everybody = (worker.bus.client, vault.bus.client, caller.router, caller.ingress)
        await eventually("all are back", lambda: all(client.is_connected for client in everybody))
        for client in everybody:
            await client.flush()
        await caller.call(key)
        assert len(on_bus.audited()) == 2
    assert seen(upstream) == [f"Bearer {KEY.reveal()}"] * 3


# --- a router that was broken into


def forged_grants(granting: Granting) -> dict[str, str | None]:
    """Return what a router can put in place of the grant of a request that nobody made."""
    return {
        "none": None,
        "of another request": granting.grant("acme", "req_another"),
        "of another tenant's request": granting.grant("globex", "req_test"),
        "that has ended": granting.grant("acme", "req_test", now_unix_ms=time.time_ns() // 1_000_000 - 3_600_000),
        "made by itself": Granting().grant("acme", "req_test"),
    }


async def test_a_forged_attempt_gets_no_key(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    key = await add(on_bus, upstream)
    async with on_bus.vault_process(), worker_process(on_bus, tmp_path):
        for what, grant in forged_grants(on_bus.granting).items():
            ended = caller.ends[(await caller.call(key, grant=grant)).attempt_id]
            assert ended.failure is not None, what
            assert ended.failure.where is Where.NOT_SENT, what
        assert upstream.calls == []
        assert {event.outcome for event in on_bus.audited()} == {AuditOutcome.REFUSED}
        honest = await caller.call(key)
        assert caller.ends[honest.attempt_id].outcome is Outcome.COMPLETED
    assert seen(upstream) == [f"Bearer {KEY.reveal()}"]


async def test_an_exchanged_body_gets_no_key(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    key = await add(on_bus, upstream)
    async with on_bus.vault_process(), worker_process(on_bus, tmp_path):
        ended = caller.ends[(await caller.call(key, BODY.replace(b"hi", b"ho"))).attempt_id]
    assert ended.failure is not None
    assert "body is not the one that its grant is for" in ended.failure.message
    assert (upstream.calls, on_bus.audited()) == ([], [])


async def test_a_leased_key_serves_any_attempt_while_its_lease_lasts(
    on_bus: VaultOnBus, upstream: Upstream, caller: Caller, tmp_path: Path
) -> None:
    """What grants do not prevent, as docs/security.md says."""
    key = await add(on_bus, upstream)
    async with on_bus.vault_process(), worker_process(on_bus, tmp_path):
        await caller.call(key)
        forged = await caller.call(key, grant=None)
        assert caller.ends[forged.attempt_id].outcome is Outcome.COMPLETED
    assert len(on_bus.audited()) == 1


async def test_worker_without_an_identity_names_what_is_missing(on_bus: VaultOnBus, tmp_path: Path) -> None:
    settings = {
        "nats_url": on_bus.bus.nats_url,
        "nats_nkey_file": on_bus.bus.seed_file("provider-worker-1"),
        "spool_dir": tmp_path / "spool",
    }
    service = create_app(ProviderWorkerSettings.model_validate(settings))
    assert service.waiting_for() == ["the bus (NATS)"], "it works without the vault, for what needs no key"
