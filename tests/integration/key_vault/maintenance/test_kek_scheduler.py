"""Scheduled KEK rotation, on real tables and a real keyring with a test clock."""

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyferry.runtime.process.settings import SettingsError
from services.key_vault.database.errors import RequestRejected
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.kek_providers.file import FileKeyring, Keyring
from services.key_vault.encryption.kek_providers.protocol import CannotRenew, Renewal
from services.key_vault.maintenance.kek_age import KekAgePolicy
from services.key_vault.maintenance.kek_rotator import KekRotator
from services.key_vault.maintenance.kek_scheduler import LOCK, KekRotationScheduler
from tests.integration.key_vault.vault_database import DEPLOYMENT, VaultDatabase, keyring_line, write_keyring

START = datetime(2026, 3, 14, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DUE = START + 90 * DAY
POLICY = KekAgePolicy(90 * DAY, automatic=True)
NEW = f"k-{DUE:%Y-%m-%d}"


class Barred(FileKeyring):
    """A keyring on a medium that is mounted read-only."""

    async def check_renewal(self) -> Renewal:
        return Renewal("the vault cannot write beside the keyring")


class Refusing(FileKeyring):
    """A keyring that turns out not to be writable."""

    renewals = 0

    async def renew(self, now: datetime) -> None:
        self.renewals += 1
        raise CannotRenew("the disk is full")


class Dying(FileKeyring):
    """A keyring whose process is killed right after creating a new KEK, or during a re-encryption."""

    def __init__(self, file: Path, *, re_encryptions: int) -> None:
        super().__init__(file)
        self._re_encryptions = re_encryptions

    async def re_encrypt(self, blob: bytes, context: Mapping[str, str]) -> bytes:
        if self._re_encryptions == 0:
            raise asyncio.CancelledError
        self._re_encryptions -= 1
        return await super().re_encrypt(blob, context)


def scheduler(
    vault: VaultDatabase, keyring: Keyring | None = None, policy: KekAgePolicy = POLICY, now: datetime = START
) -> KekRotationScheduler:
    """Return the scheduler of another process."""
    keys = keyring or FileKeyring(vault.keyring_file)
    stores = vault.restarted().stores
    rotator = KekRotator(stores.database, keys, DataKeys(stores.data_keys, keys, DEPLOYMENT), batch_size=1)
    return KekRotationScheduler(stores.database, keys, rotator, policy, lambda: now)


def acts(vault: VaultDatabase) -> list[tuple[str, str, str, str]]:
    """Return action, target, outcome and step of the audit events about KEKs, in order."""
    rows = vault.rows("SELECT convert_from(payload, 'UTF8') AS event FROM key_vault.event_outbox ORDER BY id")
    events = [json.loads(str(row["event"])) for row in rows]
    about_keks = [event for event in events if str(event.get("action", "")).startswith("kek.")]
    return [(one["action"], one["target"], one["outcome"], one["details"].get("step", "")) for one in about_keks]


def keks_in_use(vault: VaultDatabase) -> set[object]:
    return {row["kek"] for row in vault.rows("SELECT kek FROM key_vault.data_keys")}


async def test_due_kek_is_replaced_for_every_data_key(vault: VaultDatabase) -> None:
    stored = [await vault.add(f"tenant-{number}") for number in range(5)]
    await scheduler(vault).sweep(START)
    await scheduler(vault).sweep(DUE - timedelta(seconds=1))
    assert (acts(vault), keks_in_use(vault)) == ([], {"first"})
    await scheduler(vault).sweep(DUE)
    assert keks_in_use(vault) == {NEW}
    assert acts(vault) == [
        ("kek.rotate", "first", "done", "renewing"),
        ("kek.rotate", NEW, "done", "begun"),
        ("kek.rotate", NEW, "done", "ended"),
    ]
    await scheduler(vault).sweep(DUE + DAY)
    assert len(acts(vault)) == 3, "the new one is young"
    fresh = vault.restarted()
    assert [await fresh.read(key) for key, _ in stored] == [secret for _, secret in stored]


async def test_rotation_is_audited_before_the_keyring_changes(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await scheduler(vault).sweep(START)
    keyring = Refusing(vault.keyring_file)
    await scheduler(vault, keyring).sweep(DUE)
    assert keyring.renewals == 1
    assert [act[::3] for act in acts(vault)] == [("kek.rotate", "renewing"), ("kek.rotation_overdue", "")]


@pytest.mark.parametrize("re_encryptions", [0, 2])
async def test_next_process_completes_an_interrupted_rotation(vault: VaultDatabase, re_encryptions: int) -> None:
    for number in range(5):
        await vault.add(f"tenant-{number}")
    await scheduler(vault).sweep(START)
    with pytest.raises(asyncio.CancelledError):
        await scheduler(vault, Dying(vault.keyring_file, re_encryptions=re_encryptions)).sweep(DUE)
    assert keks_in_use(vault) == ({"first", NEW} if re_encryptions else {"first"})
    await scheduler(vault).sweep(DUE + timedelta(minutes=1))
    assert keks_in_use(vault) == {NEW}
    assert FileKeyring(vault.keyring_file).describe().names == (NEW, "first"), "and makes no second one"


async def test_one_of_several_processes_rotates(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await scheduler(vault).sweep(START)
    async with vault.restarted().stores.database.try_lock(LOCK) as mine:
        assert mine
        await scheduler(vault).sweep(DUE)
        assert keks_in_use(vault) == {"first"}
        with pytest.raises(RequestRejected, match="being rotated at this moment"):
            await scheduler(vault).renew("operator")
    await asyncio.gather(*(scheduler(vault).sweep(DUE) for _ in range(4)))
    assert FileKeyring(vault.keyring_file).describe().names == (NEW, "first")


async def test_kek_that_cannot_be_rotated_is_warned_about_once_a_day(
    vault: VaultDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    await vault.add("acme")
    await scheduler(vault).sweep(START)

    async def count_warnings(now: datetime) -> int:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            await scheduler(vault, Barred(vault.keyring_file)).sweep(now)
        return sum("overdue for rotation" in record.message for record in caplog.records)

    assert await count_warnings(DUE) == 1
    assert await count_warnings(DUE + timedelta(hours=23)) == 0
    assert await count_warnings(DUE + DAY) == 1
    assert acts(vault) == [("kek.rotation_overdue", "first", "done", "")] * 2
    report = await scheduler(vault, Barred(vault.keyring_file), now=DUE + DAY).report()
    assert (report.kek, report.age_days, report.overdue) == ("first", 91, True)
    assert "cannot write beside the keyring" in report.detail


async def test_no_kek_is_created_when_automatic_rotation_is_off(vault: VaultDatabase) -> None:
    await vault.add("acme")
    by_hand = KekAgePolicy(90 * DAY, automatic=False)
    await scheduler(vault, policy=by_hand).sweep(START)
    await scheduler(vault, policy=by_hand).sweep(DUE)
    assert FileKeyring(vault.keyring_file).describe().names == ("first",)
    assert (await scheduler(vault, policy=by_hand, now=DUE).report()).overdue
    never = KekAgePolicy(None, automatic=True)
    await scheduler(vault, policy=never).sweep(DUE + 999 * DAY)
    assert not (await scheduler(vault, policy=never, now=DUE + 999 * DAY).report()).overdue
    assert FileKeyring(vault.keyring_file).describe().names == ("first",)


async def test_manually_added_kek_ages_from_when_it_was_first_seen(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await scheduler(vault).sweep(START)
    write_keyring(vault.keyring_file, keyring_line("second"), *vault.keyring_file.read_text().splitlines())
    later = START + 30 * DAY
    await scheduler(vault).sweep(later)
    assert keks_in_use(vault) == {"first"}, "the operator may deploy it everywhere before it is used"
    assert (await scheduler(vault, now=later).report()).kek == "first", "which still encrypts"
    await scheduler(vault).sweep(DUE)
    assert keks_in_use(vault) == {"second"}
    report = await scheduler(vault, now=DUE).report()
    assert (report.kek, report.since, report.age_days) == ("second", later, 60)


async def test_undecryptable_data_key_does_not_cause_endless_rotation(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await vault.add("globex")
    await scheduler(vault).sweep(START)
    vault.execute("UPDATE key_vault.data_keys SET encrypted_key = '\\x00' WHERE tenant = 'globex'")
    await scheduler(vault).sweep(DUE)
    await scheduler(vault).sweep(DUE + timedelta(hours=1))
    assert keks_in_use(vault) == {NEW, "first"}
    assert [act[::3] for act in acts(vault)].count(("kek.rotate", "begun")) == 1
    report = await scheduler(vault, now=DUE + timedelta(hours=1)).report()
    assert (report.kek, report.overdue) == ("first", True)
    await scheduler(vault).sweep(DUE + DAY)
    assert [act[::3] for act in acts(vault)].count(("kek.rotate", "begun")) == 2, "it is tried again the next day"


async def test_new_kek_on_request(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await scheduler(vault, now=START).renew("operator")
    assert FileKeyring(vault.keyring_file).describe().primary == f"k-{START:%Y-%m-%d}"
    assert (await scheduler(vault, now=START + DAY).report()).kek == "first", "which still encrypts"
    with pytest.raises(RequestRejected, match="cannot write beside"):
        await scheduler(vault, Barred(vault.keyring_file)).renew("operator")
    assert [act[2] for act in acts(vault)] == ["done", "refused"]


async def test_malformed_keyring_raises_a_settings_error(vault: VaultDatabase) -> None:
    looking = scheduler(vault)
    vault.keyring_file.write_text("nonsense\n")
    with pytest.raises(SettingsError, match="want a name"):
        await looking.sweep(START)
