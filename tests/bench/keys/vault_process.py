"""A vault that leases keys, as a separate process: `python -m tests.bench.keys.vault_process DIRECTORY`.

It reads `setup.json` in the directory, stores the requested keys, writes their metadata to `keys.json`, and answers workers
until it is stopped. Handlers, tables, encryption and the relay of audit events are the product's; key management is left out.
"""

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from keyferry.contracts import ids
from keyferry.contracts.key import KeyStatus, KeyTest, ProviderKey
from keyferry.contracts.lease import RunKeyTest as Check
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import KEY_LEASE, WORKER_REGISTER, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.engine import engine_for
from keyferry.runtime.database.event_outbox import EventRelay
from keyferry.runtime.process.settings import DatabaseSettings
from keyferry.sealing.private_keys import signing_key
from services.key_vault.database.tables import audit_sequence, event_outbox
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.keys.store import KeyStore
from services.key_vault.leases.alarms import LeaseAlarms
from services.key_vault.leases.grant_keys import GrantKeys
from services.key_vault.leases.grants import GrantCheck
from services.key_vault.leases.lease_watch import LeaseWatch
from services.key_vault.leases.registrations import EnrolledWorkers
from services.key_vault.leases.service import LeaseService
from tests.bench.failure import BenchError

ORIGIN = "https://api.example.com"
_POOL_SIZE = 12


async def _serve(directory: Path, setup: dict[str, Any]) -> None:
    settings = DatabaseSettings(
        nats_url=setup["nats_url"], nats_nkey_file=setup["seed_file"], database_url_file=directory / "database.url"
    )
    engine = engine_for(settings, pool_size=_POOL_SIZE)
    database = Database(engine)
    encryption = EnvelopeEncryption(
        DataKeys(DataKeyStore(database), FileKeyring(directory / "keyring"), "bench"), "bench", bytes(32)
    )
    keys = [await store_key(KeyStore(database), encryption, number, "bench") for number in range(setup["keys"])]
    bus = Bus(Role.KEY_VAULT, settings)
    await bus.connect()
    leases = LeaseService(
        database,
        encryption,
        signing_key(Secret((directory / "signing-key").read_text())),
        EnrolledWorkers.parse((directory / "enrolled").read_text()),
        lambda: datetime.now(UTC),
        _refuse_tests,
        GrantCheck(GrantKeys.parse((directory / "grant-keys").read_text()).get, None),
        LeaseAlarms(database, LeaseWatch(most_leases=1_000_000), lambda: datetime.now(UTC), lambda: None),
    )
    bus.respond(WORKER_REGISTER, leases.register)
    bus.subscribe(KEY_LEASE, leases.on_lease)
    await bus.broker.start()
    await bus.start()
    events = EventRelay(engine, event_outbox, audit_sequence, lambda: bus.jetstream)
    events.start()
    draft = directory / "keys.json.draft"
    draft.write_text(json.dumps([key.model_dump(mode="json") for key in keys]))
    draft.rename(directory / "keys.json")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await bus.leave()
    await events.stop()
    await bus.broker.stop()
    await engine.dispose()


async def store_key(store: KeyStore, encryption: EnvelopeEncryption, number: int, tenant: str) -> ProviderKey:
    """Store a key of `tenant` as the service does."""
    secret = Secret(f"sk-bench-{number:032d}")
    key = ProviderKey(
        key_id=ids.new(ids.PROVIDER_KEY),
        tenant=tenant,
        provider="openai",
        label=f"key-{number}",
        status=KeyStatus.VALID,
        version=1,
        origin=ORIGIN,
        base_url=f"{ORIGIN}/v1",
        masked="sk-…",
        fingerprint=encryption.fingerprint(tenant, secret),
        created_at=datetime.now(UTC),
        created_by="bench",
    )
    sealed = await encryption.encrypt(key, secret)
    await store.insert(key, sealed, Act("bench", "key.add", key.tenant, key.key_id), "A key was added.")
    return key


async def _refuse_tests(worker_id: str, check: Check) -> KeyTest:
    raise BenchError("keys are not tested here")


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), json.loads(Path(sys.argv[1], "setup.json").read_text())))
