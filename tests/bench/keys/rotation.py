"""Timings of a KEK rotation over many tenants, and of reading keys before and during it."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from secrets import token_bytes

import uvloop
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres.migrate import migrate
from keyferry.contracts.key import ProviderKey
from keyferry.sealing.framing import to_base64
from services.key_vault.database.transaction import Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.encryption.kek_providers.protocol import Context
from services.key_vault.keys.record_store import RecordStore
from services.key_vault.keys.store import KeyStore
from services.key_vault.maintenance.kek_rotator import KekRotator
from tests.bench.failure import BenchError
from tests.bench.keys import RE_ENCRYPT, READ_BEFORE, READ_MEANWHILE
from tests.bench.keys.timing import Timing, timing
from tests.bench.keys.vault_process import store_key
from tests.support.servers.postgres import postgres_server

_TENANTS = 2000
_READS_PER_SECOND = 200
_AT_ONCE = 50
_NO_CACHE_SECONDS = 0.0


class _TimedKeyring(FileKeyring):
    """A keyring that records how long re-encrypting each data key took."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.taken_ns: list[int] = []

    async def re_encrypt(self, blob: bytes, context: Context) -> bytes:
        began = time.perf_counter_ns()
        encrypted = await super().re_encrypt(blob, context)
        self.taken_ns.append(time.perf_counter_ns() - began)
        return encrypted


def measure(directory: Path) -> list[Timing]:
    """Time reads at 200 a second before and during a rotation over 2000 tenants, and the rotation itself.

    Raises:
        BenchError: a data key was left on the old KEK, or there were too few samples.
    """
    return uvloop.run(_measure(directory))


async def _measure(directory: Path) -> list[Timing]:
    keyring = directory / "keyring"
    keyring.touch(mode=0o600)
    old, new = (f"{name} {to_base64(token_bytes(32))}\n" for name in ("old", "new"))
    keyring.write_text(old)
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        url = migrate(server.new_database(), directory / "database", services=["key_vault"])["key_vault"].read_text()
        keys = await _store_keys(url.strip(), keyring)
        engine = create_async_engine(url.strip(), pool_size=10)
        try:
            database, keks = Database(engine), _TimedKeyring(keyring)
            data_keys = DataKeys(DataKeyStore(database), keks, "bench", ttl_seconds=_NO_CACHE_SECONDS)
            encryption = EnvelopeEncryption(data_keys, "bench", bytes(32))
            over = asyncio.Event()
            asyncio.get_running_loop().call_later(2, over.set)
            before = await _time_reads(READ_BEFORE, RecordStore(database), encryption, keys, over)
            keyring.write_text(new + old)
            rotation, done = KekRotator(database, keks, data_keys), asyncio.Event()
            reading = asyncio.ensure_future(_time_reads(READ_MEANWHILE, RecordStore(database), encryption, keys, done))
            began = time.monotonic()
            await rotation.run("bench")
            re_encrypted = timing(RE_ENCRYPT, keks.taken_ns, time.monotonic() - began)
            done.set()
            meanwhile = await reading
            if (await rotation.progress()).left:
                raise BenchError("the rotation ended and left data keys on the old KEK")
            return [re_encrypted, before, meanwhile]
        finally:
            await engine.dispose()


async def _store_keys(url: str, keyring: Path) -> list[ProviderKey]:
    """Store a key for each tenant, without waiting for the disk, since nothing has to survive a power failure."""
    engine = create_async_engine(url, connect_args={"options": "-c synchronous_commit=off"})
    try:
        database = Database(engine)
        encryption = EnvelopeEncryption(
            DataKeys(DataKeyStore(database), FileKeyring(keyring), "bench"), "bench", bytes(32)
        )
        return [
            await store_key(KeyStore(database), encryption, number, f"tenant-{number}") for number in range(_TENANTS)
        ]
    finally:
        await engine.dispose()


async def _time_reads(
    name: str, records: RecordStore, encryption: EnvelopeEncryption, keys: Sequence[ProviderKey], over: asyncio.Event
) -> Timing:
    """Decrypt keys from their records at an even rate until `over`, each with a newly decrypted data key."""
    taken: list[int] = []
    slots = asyncio.Semaphore(_AT_ONCE)

    async def read(key: ProviderKey) -> None:
        async with slots:
            began = time.perf_counter_ns()
            record = await records.get(key.tenant, key.key_id, key.version)
            if record is None:
                raise BenchError(f"the record of {key.key_id} is gone")
            await encryption.decrypt(key, record)
            taken.append(time.perf_counter_ns() - began)

    began = time.monotonic()
    number = 0
    async with asyncio.TaskGroup() as group:
        while not over.is_set() or number < 2 * _AT_ONCE:
            group.create_task(read(keys[number % len(keys)]))
            number += 1
            await asyncio.sleep(max(0.0, began + number / _READS_PER_SECOND - time.monotonic()))
    return timing(name, taken, time.monotonic() - began)
