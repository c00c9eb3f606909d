"""Timings of leases: with the key in memory, and requested from the vault over the bus."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.postgres.migrate import migrate
from keyferry.contracts import ids
from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.lease import LeaseKey, Registered, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import KEY_LEASE, WORKER_REGISTER, Role, worker_id
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings
from keyferry.sealing.framing import to_base64
from keyferry.sealing.grant import MAX_VALID_MS, GrantSigner, signer_of
from keyferry.sealing.private_keys import private_key_text, public_key_text
from services.provider_worker.keys.lease_client import LeaseClient
from services.provider_worker.keys.registrar import Registrar
from tests.bench.children import started
from tests.bench.keys import COLD, WARM
from tests.bench.keys.timing import Timing, timing
from tests.bench.keys.vault_process import ORIGIN
from tests.support.providers.attempt_runs import attempt_run
from tests.support.servers.postgres import postgres_server
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

_KEYS = 200
_ASK_SECONDS = 10.0
_CLIENTS = 16
_WARM_BATCH = 1000
_BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
_REPOSITORY = Path(__file__).resolve().parents[3]


def measure(directory: Path, seconds: float) -> list[Timing]:
    """Time warm and cold leases, each kind for `seconds`; every server runs in `directory` and is stopped at the end.

    Raises:
        BenchError: a server or the vault did not start, or there was no time for enough samples.
    """
    return uvloop.run(_measure(directory, seconds))


async def _measure(directory: Path, seconds: float) -> list[Timing]:
    signer, identity = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    _write_secret(directory / "keyring", f"bench {to_base64(secrets.token_bytes(32))}\n")
    _write_secret(directory / "signing-key", private_key_text(signer).reveal())
    secret = to_base64(secrets.token_bytes(32))
    ingress = signer_of(Role.INGRESS.value, Secret(secret))
    _write_secret(directory / "grant-keys", json.dumps({Role.INGRESS.value: secret}))
    _write_secret(directory / "enrolled", json.dumps({worker_id(1): public_key_text(identity)}))
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server())
        urls = migrate(database.new_database(), directory / "database", services=["key_vault"])
        async with provisioned_bus(directory, worker_slots=1) as bus:
            _write_secret(directory / "database.url", urls["key_vault"].read_text())
            setup = {
                "nats_url": bus.nats_url,
                "seed_file": str(bus.seed_file(Role.KEY_VAULT)),
                "keys": _KEYS,
            }
            _write_secret(directory / "setup.json", json.dumps(setup))
            command = [sys.executable, "-m", "tests.bench.keys.vault_process", str(directory)]
            vault = stack.enter_context(started("vault", command, directory, cwd=_REPOSITORY))
            keys = await asyncio.to_thread(vault.wait_until, lambda: _read_stored_keys(directory), "its keys", 60.0)
            async with _worker(bus, identity, signer, keys) as leases:
                runs = [_run(key, ingress) for key in keys]
                return [
                    await _time_warm(leases, runs, seconds),
                    await _time_cold(COLD, leases, runs, seconds, clients=1),
                    await _time_cold(f"lease cold, {_CLIENTS} at a time", leases, runs, seconds, clients=_CLIENTS),
                ]


@asynccontextmanager
async def _worker(
    bus: ProvisionedBus, identity: Ed25519PrivateKey, vault: Ed25519PrivateKey, keys: Sequence[KeyFacts]
) -> AsyncIterator[LeaseClient]:
    settings = ServiceSettings(nats_url=bus.nats_url, nats_nkey_file=bus.seed_file(worker_id(1)))
    connection = Bus(Role.PROVIDER_WORKER, settings)
    view = {f"{key.tenant}.{key.key_id}": key for key in keys}

    async def register(registration: WorkerRegistration) -> Registered:
        return await connection.ask(WORKER_REGISTER, registration, timeout_seconds=_ASK_SECONDS, worker=connection.user)

    async def lease(question: LeaseKey) -> SealedKey:
        return await connection.ask(KEY_LEASE, question, timeout_seconds=_ASK_SECONDS, worker=connection.user)

    registrar = Registrar(
        worker_id=connection.user,
        instance_id=connection.instance_id,
        identity=identity,
        vault=vault.public_key(),
        ask=register,
    )
    await connection.connect()
    try:
        await registrar.register()
        yield LeaseClient(
            registrar=registrar,
            ask=lease,
            facts_of=view.get,
            current=lambda: connection.connected,
            instance_id=connection.instance_id,
        )
    finally:
        await connection.broker.stop()


async def _time_warm(leases: LeaseClient, runs: Sequence[AttemptRun], seconds: float) -> Timing:
    for run in runs:
        await leases.lease(run, ORIGIN, _BODY)
    taken: list[int] = []
    began = time.monotonic()
    # Half a lease at most, so that none expires meanwhile.
    while time.monotonic() - began < min(seconds, 30.0):
        for number in range(_WARM_BATCH):
            taken.append(await _time_lease(leases, runs[number % len(runs)]))
        await asyncio.sleep(0)
    return timing(WARM, taken, time.monotonic() - began)


async def _time_cold(
    name: str, leases: LeaseClient, runs: Sequence[AttemptRun], seconds: float, *, clients: int
) -> Timing:
    taken: list[int] = []
    began = time.monotonic()

    async def client(own: Sequence[AttemptRun]) -> None:
        while time.monotonic() - began < seconds:
            for run in own:
                leases.evict_all()
                taken.append(await _time_lease(leases, run))

    await asyncio.gather(*(client(runs[first::clients]) for first in range(clients)))
    return timing(name, taken, time.monotonic() - began)


async def _time_lease(leases: LeaseClient, run: AttemptRun) -> int:
    began = time.perf_counter_ns()
    await leases.lease(run, ORIGIN, _BODY)
    return time.perf_counter_ns() - began


def _run(key: KeyFacts, ingress: GrantSigner) -> AttemptRun:
    """Return an attempt of a request of its own, as any that needs a lease has."""
    request_id = ids.new(ids.REQUEST)
    grant = ingress.sign(key.tenant, request_id, _BODY, now_unix_ms=time.time_ns() // 1_000_000, lasts_ms=MAX_VALID_MS)
    facts = {"tenant": key.tenant, "provider": key.provider, "key_id": key.key_id, "key_owner": key.tenant}
    return attempt_run().model_copy(update={**facts, "request_id": request_id, "grant": grant})


def _read_stored_keys(directory: Path) -> list[KeyFacts] | None:
    file = directory / "keys.json"
    return [KeyFacts.model_validate(key) for key in json.loads(file.read_text())] if file.exists() else None


def _write_secret(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
