"""Rotation of KEKs and data keys while keys are read, and killed at any moment."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from keyferry.contracts.key import ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.vault import VaultReport
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.process.settings import SettingsError
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.encryption.kek_providers.protocol import KekUnavailable
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.maintenance.data_key_rotator import DataKeyRotator
from services.key_vault.maintenance.kek_rotator import KekRotator
from tests.integration.key_vault.vault_database import DEPLOYMENT, VaultDatabase, keyring_line, write_keyring
from tests.support.waiting import eventually

KILLS = 5
ADDED_AT_ONCE = 8
TENANTS = [
    pytest.param(300, id="300"),
    pytest.param(10_000, id="10000", marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
]
Stored = dict[str, tuple[ProviderKey, Secret]]


class Killing(FileKeyring):
    """A keyring that simulates a kill in the middle of a re-encryption."""

    def __init__(self, file: Path, kill_at: int) -> None:
        super().__init__(file)
        self._left = kill_at

    async def re_encrypt(self, blob: bytes, context: Mapping[str, str]) -> bytes:
        self._left -= 1
        if self._left == 0:
            raise asyncio.CancelledError
        return await super().re_encrypt(blob, context)


class Readers:
    """Reads stored keys repeatedly without a cache, like another process of the vault."""

    def __init__(self, vault: VaultDatabase, stored: Stored, seed: int) -> None:
        self._vault = vault.restarted(ttl_seconds=0)
        self._stored = stored
        self._random = random.Random(seed)
        self.reads = 0
        self.errors: list[str] = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["Readers"]:
        tasks = [asyncio.create_task(self._read_forever()) for _ in range(2)]
        try:
            yield self
        finally:
            for task in tasks:
                await cancel_and_wait(task)

    async def wait_for_reads(self, more: int) -> None:
        """Return after this many more reads."""
        goal = self.reads + more
        async with asyncio.timeout(60):
            while self.reads < goal:  # noqa: ASYNC110  # a count has no event to wait for
                await asyncio.sleep(0.005)

    async def _read_forever(self) -> None:
        keys = list(self._stored)
        while True:
            key, secret = self._stored[self._random.choice(keys)]
            try:
                if await self._vault.read(key) != secret:
                    self.errors.append(f"{key.key_id}: another secret")
            except Undecryptable as error:
                self.errors.append(str(error))
            self.reads += 1


async def fill(vault: VaultDatabase, tenants: int) -> Stored:
    """Add one key for each of this many tenants, and return them by tenant."""
    names = iter([f"tenant-{number}" for number in range(tenants)])
    stored: Stored = {}

    async def add() -> None:
        for tenant in names:
            stored[tenant] = await vault.add(tenant)

    await asyncio.gather(*(add() for _ in range(ADDED_AT_ONCE)))
    return stored


def renew(vault: VaultDatabase, name: str) -> None:
    """Add a new primary KEK."""
    write_keyring(vault.keyring_file, keyring_line(name), *vault.keyring_file.read_text().splitlines())


def rotation(vault: VaultDatabase, keyring: FileKeyring | None = None, *, batch_size: int = 20) -> KekRotator:
    """Return the rotator of another process."""
    keks = keyring or FileKeyring(vault.keyring_file)
    process = vault.restarted()
    data_keys = DataKeys(process.stores.data_keys, keks, DEPLOYMENT)
    return KekRotator(process.stores.database, keks, data_keys, batch_size=batch_size)


@pytest.mark.parametrize("tenants", TENANTS)
async def test_rotation_killed_five_times_disturbs_no_read_and_completes(vault: VaultDatabase, tenants: int) -> None:
    stored = await fill(vault, tenants)
    random_ = random.Random(tenants)
    async with Readers(vault, stored, seed=tenants).reading() as readers:
        renew(vault, "second")
        left = tenants
        for _ in range(KILLS):
            killing = Killing(vault.keyring_file, random_.randrange(1, tenants // (KILLS + 1)))
            with pytest.raises(asyncio.CancelledError):
                await rotation(vault, killing).run("operator")
            progress = await rotation(vault).progress()
            assert 0 < progress.left <= left, "what was committed stays, and there was something left to kill"
            left = progress.left
            await readers.wait_for_reads(20)
        await rotation(vault).run("operator")
        await readers.wait_for_reads(20)
    assert readers.errors == []
    progress = await rotation(vault).progress()
    assert (progress.primary, progress.total, progress.left) == ("second", tenants, 0)
    assert progress.by_kek == {"second": tenants}
    # The old one may go now, for good.
    write_keyring(vault.keyring_file, vault.keyring_file.read_text().splitlines()[0])
    fresh = vault.restarted()
    assert [await fresh.read(key) for key, _ in stored.values()] == [secret for _, secret in stored.values()]


async def test_reads_fail_if_the_old_kek_is_removed_before_the_rotation(vault: VaultDatabase) -> None:
    stored = await fill(vault, 10)
    async with Readers(vault, stored, seed=1).reading() as readers:
        await readers.wait_for_reads(5)
        assert readers.errors == []
        write_keyring(vault.keyring_file, keyring_line("second"))
        readers._vault = vault.restarted(ttl_seconds=0)
        await readers.wait_for_reads(5)
    assert readers.errors
    assert "'first' is missing" in readers.errors[0]


async def test_concurrent_rotations_do_not_conflict(vault: VaultDatabase) -> None:
    await fill(vault, 60)
    renew(vault, "second")
    await asyncio.gather(*(rotation(vault, batch_size=7).run("operator") for _ in range(3)))
    assert (await rotation(vault).progress()).by_kek == {"second": 60}


async def test_repeated_rotation_changes_nothing(vault: VaultDatabase) -> None:
    stored = await fill(vault, 3)
    renew(vault, "second")
    await rotation(vault).run("operator")
    before = vault.rows("SELECT data_key_id, encrypted_key FROM key_vault.data_keys ORDER BY data_key_id")
    await rotation(vault).run("operator")
    assert vault.rows("SELECT data_key_id, encrypted_key FROM key_vault.data_keys ORDER BY data_key_id") == before
    for key, secret in stored.values():
        assert await vault.restarted().read(key) == secret


async def test_kek_rotation_changes_data_keys_only(vault: VaultDatabase) -> None:
    await fill(vault, 3)
    records = vault.rows("SELECT * FROM key_vault.key_records ORDER BY key_id")
    renew(vault, "second")
    await rotation(vault).run("operator")
    assert vault.rows("SELECT * FROM key_vault.key_records ORDER BY key_id") == records


async def test_a_rotation_that_ends_during_a_count_is_not_reported_as_ended_with_something_left(
    vault: VaultDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(vault, 3)
    renew(vault, "second")
    rotating = rotation(vault, batch_size=1)
    count = rotating._store.count_by_kek

    async def count_then_end() -> Mapping[str, int]:
        counted = await count()
        await eventually("the rotation has ended", lambda: not rotating._running)
        return counted

    monkeypatch.setattr(rotating._store, "count_by_kek", count_then_end)
    found = await rotating.start("operator")
    assert found.left == 0 or found.running
    monkeypatch.undo()
    assert not (await rotating.progress()).running
    await rotating.stop()


async def test_rotation_runs_in_the_background_and_reports_progress(vault: VaultDatabase) -> None:
    await fill(vault, 30)
    renew(vault, "second")
    rotating = rotation(vault, batch_size=1)
    begun = await rotating.start("operator")
    assert (begun.primary, begun.total, begun.running) == ("second", 30, True)
    async with asyncio.timeout(30):
        while (progress := await rotating.progress()).running:
            assert progress.left + progress.by_kek.get("second", 0) == 30
    assert (progress.left, progress.failed) == (0, [])
    await rotating.stop()
    acts = vault.rows(
        "SELECT convert_from(payload, 'UTF8') AS event FROM key_vault.event_outbox ORDER BY id DESC LIMIT 2"
    )
    assert all('"action":"kek.rotate"' in str(row["event"]) for row in acts)
    assert '"re_encrypted":"30"' in str(acts[0]["event"])


async def test_undecryptable_data_keys_are_named_and_skipped(vault: VaultDatabase) -> None:
    stored = await fill(vault, 12)
    broken = vault.rows("SELECT data_key_id FROM key_vault.data_keys WHERE tenant IN ('tenant-3', 'tenant-7')")
    vault.execute(
        "UPDATE key_vault.data_keys SET encrypted_key = encrypted_key || '\\x00' WHERE tenant IN ('tenant-3', 'tenant-7')"
    )
    renew(vault, "second")
    rotating = rotation(vault, batch_size=2)
    await rotating.run("operator")
    progress = await rotating.progress()
    assert progress.left == 2
    assert progress.failed == sorted(str(row["data_key_id"]) for row in broken)
    for tenant in ("tenant-0", "tenant-11"):
        key, secret = stored[tenant]
        assert await vault.restarted().read(key) == secret


class Away(FileKeyring):
    """A KEK provider that is unavailable for the first calls."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.refusals = 2

    async def re_encrypt(self, blob: bytes, context: Mapping[str, str]) -> bytes:
        if self.refusals:
            self.refusals -= 1
            raise KekUnavailable("away")
        return await super().re_encrypt(blob, context)


async def test_unavailable_kek_provider_is_retried(vault: VaultDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.key_vault.maintenance.kek_rotator._RETRY_SECONDS", 0.01)
    await fill(vault, 3)
    renew(vault, "second")
    rotating = rotation(vault, Away(vault.keyring_file))
    await rotating.start("operator")
    async with asyncio.timeout(30):
        while (progress := await rotating.progress()).running:
            pass
    assert progress.left == 0


async def test_a_batch_in_which_every_key_fails_does_not_end_a_rotation(vault: VaultDatabase) -> None:
    await fill(vault, 4)
    broken, *others = [
        row["data_key_id"] for row in vault.rows("SELECT data_key_id FROM key_vault.data_keys ORDER BY 1")
    ]
    vault.execute(
        "UPDATE key_vault.data_keys SET encrypted_key = encrypted_key || '\\x00' WHERE data_key_id = %s", broken
    )
    renew(vault, "second")
    rotating = rotation(vault, batch_size=1)
    assert await rotating.run_to_end("operator") == 1
    kek = {row["data_key_id"]: row["kek"] for row in vault.rows("SELECT data_key_id, kek FROM key_vault.data_keys")}
    assert kek == {broken: "first", **dict.fromkeys(others, "second")}
    progress = await rotating.progress()
    assert (progress.left, progress.failed, progress.running) == (1, [broken], False)


async def test_malformed_keyring_is_reported_when_a_rotation_starts(vault: VaultDatabase) -> None:
    rotating = rotation(vault)
    write_keyring(vault.keyring_file, "spoiled")
    with pytest.raises(SettingsError, match="want a name"):
        await rotating.start("operator")


async def test_records_move_to_a_new_data_key_while_being_read(vault: VaultDatabase) -> None:
    keys = [await vault.add("acme") for _ in range(20)]
    other, other_secret = await vault.add("other")
    old = vault.rows("SELECT data_key_id FROM key_vault.data_keys WHERE tenant = 'acme'")[0]["data_key_id"]
    stored = {key.key_id: (key, secret) for key, secret in keys}
    async with Readers(vault, stored, seed=3).reading() as readers:
        report = await rotate_data_keys(vault, "acme")
        await readers.wait_for_reads(20)
    assert readers.errors == []
    assert (report.records, report.data_keys, report.undecryptable) == (20, 1, [])
    rows = vault.rows(f"SELECT DISTINCT data_key_id FROM key_vault.key_records WHERE key_id NOT IN ('{other.key_id}')")
    assert len(rows) == 1
    assert rows[0]["data_key_id"] != old
    assert not vault.rows(f"SELECT * FROM key_vault.data_keys WHERE data_key_id = '{old}'")
    assert await vault.read(other) == other_secret


async def test_new_records_use_the_new_data_key_at_once(vault: VaultDatabase) -> None:
    first, _ = await vault.add("acme")
    fresh = await vault.data_keys.replace("acme")
    second, _ = await vault.add("acme")
    rows = vault.rows("SELECT key_id, data_key_id FROM key_vault.key_records")
    used = {row["key_id"]: row["data_key_id"] for row in rows}
    assert used[second.key_id] == fresh.data_key_id != used[first.key_id]


async def test_killed_data_key_rotation_is_completed_by_the_next(vault: VaultDatabase) -> None:
    keys = [await vault.add("acme") for _ in range(12)]
    process = vault.restarted()
    task = asyncio.create_task(rotate_data_keys(process, "acme"))
    async with asyncio.timeout(30):
        while not task.done() and len(await in_use(vault)) < 2:
            pass
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert [await vault.restarted().read(key) for key, _ in keys] == [secret for _, secret in keys]
    report = await rotate_data_keys(vault.restarted(), "acme")
    assert (report.records, report.data_keys, report.undecryptable) == (12, 1, [])


async def test_undecryptable_record_keeps_its_data_key(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await vault.add("acme")
    vault.execute("UPDATE key_vault.key_records SET record = record || '\\x00' WHERE key_id = %s", key.key_id)
    report = await rotate_data_keys(vault, "acme")
    assert (report.data_keys, report.undecryptable) == (2, [key.key_id])


async def in_use(vault: VaultDatabase) -> list[dict[str, object]]:
    """Return the data keys that encrypt records."""
    return await asyncio.to_thread(vault.rows, "SELECT DISTINCT data_key_id FROM key_vault.key_records")


async def rotate_data_keys(vault: VaultDatabase, tenant: str) -> VaultReport:
    rotator = DataKeyRotator(vault.stores.database, vault.data_keys, vault.encryption, vault.integrity)
    return await rotator.rotate(tenant, "operator")
