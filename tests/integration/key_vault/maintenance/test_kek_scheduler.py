"""KEKs that grow old, on real tables and a real keyring; the time is what the test says."""

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
RULE = KekAgePolicy(90 * DAY, automatic=True)
NEW = f"k-{DUE:%Y-%m-%d}"


class Barred(FileKeyring):
    """A keyring on a medium that is mounted read-only."""

    async def check_renewal(self) -> Renewal:
        return Renewal("the vault cannot write beside the keyring")


class Refusing(FileKeyring):
    """A keyring that turns out not to be writable."""

    failed_attempts = 0

    async def renew(self, now: datetime) -> None:
        self.failed_attempts += 1
        raise CannotRenew("the disk is full")


class Dying(FileKeyring):
    """A keyring whose process ends right after it made a new KEK, or in the middle of a rewrap."""

    def __init__(self, file: Path, *, rewraps: int) -> None:
        super().__init__(file)
        self._rewraps = rewraps

    async def re_encrypt(self, blob: bytes, context: Mapping[str, str]) -> bytes:
        if self._rewraps == 0:
            raise asyncio.CancelledError
        self._rewraps -= 1
        return await super().re_encrypt(blob, context)


def watch(
    vault: VaultDatabase, keyring: Keyring | None = None, rule: KekAgePolicy = RULE, now: datetime = START
) -> KekRotationScheduler:
    """Another process of the vault."""
    keys = keyring or FileKeyring(vault.keyring_file)
    stores = vault.restarted().stores
    rotator = KekRotator(stores.database, keys, DataKeys(stores.data_keys, keys, DEPLOYMENT), batch_size=1)
    return KekRotationScheduler(stores.database, keys, rotator, rule, lambda: now)


def acts(vault: VaultDatabase) -> list[tuple[str, str, str, str]]:
    """Action, target, outcome and step of what the audit is told about KEKs, in order."""
    rows = vault.rows("SELECT convert_from(payload, 'UTF8') AS event FROM key_vault.event_outbox ORDER BY id")
    events = [json.loads(str(row["event"])) for row in rows]
    told = [event for event in events if str(event.get("action", "")).startswith("kek.")]
    return [(one["action"], one["target"], one["outcome"], one["details"].get("step", "")) for one in told]


def wrapped_by(vault: VaultDatabase) -> set[object]:
    return {row["kek"] for row in vault.rows("SELECT kek FROM key_vault.data_keys")}


async def test_a_kek_that_is_due_is_replaced_and_nothing_of_it_is_left(vault: VaultDatabase) -> None:
    stored = [await vault.add(f"tenant-{number}") for number in range(5)]
    await watch(vault).sweep(START)
    await watch(vault).sweep(DUE - timedelta(seconds=1))
    assert (acts(vault), wrapped_by(vault)) == ([], {"first"})
    await watch(vault).sweep(DUE)
    assert wrapped_by(vault) == {NEW}
    assert acts(vault) == [
        ("kek.rotate", "first", "done", "renewing"),
        ("kek.rotate", NEW, "done", "begun"),
        ("kek.rotate", NEW, "done", "ended"),
    ]
    await watch(vault).sweep(DUE + DAY)
    assert len(acts(vault)) == 3, "the new one is young"
    fresh = vault.restarted()
    assert [await fresh.read(key) for key, _ in stored] == [secret for _, secret in stored]


async def test_it_is_in_the_audit_before_the_keyring_changes(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await watch(vault).sweep(START)
    keyring = Refusing(vault.keyring_file)
    await watch(vault, keyring).sweep(DUE)
    assert keyring.failed_attempts == 1
    assert [act[::3] for act in acts(vault)] == [("kek.rotate", "renewing"), ("kek.rotation_overdue", "")]


@pytest.mark.parametrize("rewraps", [0, 2])
async def test_whoever_comes_next_finishes_what_a_process_left_behind(vault: VaultDatabase, rewraps: int) -> None:
    for number in range(5):
        await vault.add(f"tenant-{number}")
    await watch(vault).sweep(START)
    with pytest.raises(asyncio.CancelledError):
        await watch(vault, Dying(vault.keyring_file, rewraps=rewraps)).sweep(DUE)
    assert wrapped_by(vault) == ({"first", NEW} if rewraps else {"first"})
    await watch(vault).sweep(DUE + timedelta(minutes=1))
    assert wrapped_by(vault) == {NEW}
    assert FileKeyring(vault.keyring_file).describe().names == (NEW, "first"), "and makes no second one"


async def test_of_two_processes_one_replaces_it(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await watch(vault).sweep(START)
    async with vault.restarted().stores.database.try_lock(LOCK) as mine:
        assert mine
        await watch(vault).sweep(DUE)
        assert wrapped_by(vault) == {"first"}
        with pytest.raises(RequestRejected, match="being rotated at this moment"):
            await watch(vault).renew("operator")
    await asyncio.gather(*(watch(vault).sweep(DUE) for _ in range(4)))
    assert FileKeyring(vault.keyring_file).describe().names == (NEW, "first")


async def test_where_it_cannot_be_replaced_one_warning_a_day_says_so(
    vault: VaultDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    await vault.add("acme")
    await watch(vault).sweep(START)

    async def looked_at(now: datetime) -> int:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            await watch(vault, Barred(vault.keyring_file)).sweep(now)
        return sum("overdue for rotation" in record.message for record in caplog.records)

    assert await looked_at(DUE) == 1
    assert await looked_at(DUE + timedelta(hours=23)) == 0
    assert await looked_at(DUE + DAY) == 1
    assert acts(vault) == [("kek.rotation_overdue", "first", "done", "")] * 2
    told = await watch(vault, Barred(vault.keyring_file), now=DUE + DAY).report()
    assert (told.kek, told.age_days, told.overdue) == ("first", 91, True)
    assert "cannot write beside the keyring" in told.detail


async def test_where_it_is_switched_off_nothing_is_made(vault: VaultDatabase) -> None:
    await vault.add("acme")
    by_hand = KekAgePolicy(90 * DAY, automatic=False)
    await watch(vault, rule=by_hand).sweep(START)
    await watch(vault, rule=by_hand).sweep(DUE)
    assert FileKeyring(vault.keyring_file).describe().names == ("first",)
    assert (await watch(vault, rule=by_hand, now=DUE).report()).overdue
    never = KekAgePolicy(None, automatic=True)
    await watch(vault, rule=never).sweep(DUE + 999 * DAY)
    assert not (await watch(vault, rule=never, now=DUE + 999 * DAY).report()).overdue
    assert FileKeyring(vault.keyring_file).describe().names == ("first",)


async def test_what_a_person_put_into_the_keyring_counts_from_when_it_was_seen(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await watch(vault).sweep(START)
    write_keyring(vault.keyring_file, keyring_line("second"), *vault.keyring_file.read_text().splitlines())
    later = START + 30 * DAY
    await watch(vault).sweep(later)
    assert wrapped_by(vault) == {"first"}, "they may want it everywhere before it is used"
    assert (await watch(vault, now=later).report()).kek == "first", "which still wraps"
    await watch(vault).sweep(DUE)
    assert wrapped_by(vault) == {"second"}
    told = await watch(vault, now=DUE).report()
    assert (told.kek, told.since, told.age_days) == ("second", later, 60)


async def test_a_data_key_that_does_not_unwrap_is_no_reason_to_rotate_for_ever(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await vault.add("globex")
    await watch(vault).sweep(START)
    vault.execute("UPDATE key_vault.data_keys SET encrypted_key = '\\x00' WHERE tenant = 'globex'")
    await watch(vault).sweep(DUE)
    await watch(vault).sweep(DUE + timedelta(hours=1))
    assert wrapped_by(vault) == {NEW, "first"}
    assert [act[::3] for act in acts(vault)].count(("kek.rotate", "begun")) == 1
    told = await watch(vault, now=DUE + timedelta(hours=1)).report()
    assert (told.kek, told.overdue) == ("first", True)
    await watch(vault).sweep(DUE + DAY)
    assert [act[::3] for act in acts(vault)].count(("kek.rotate", "begun")) == 2, "it is tried again the next day"


async def test_a_new_one_on_request(vault: VaultDatabase) -> None:
    await vault.add("acme")
    await watch(vault, now=START).renew("operator")
    assert FileKeyring(vault.keyring_file).describe().primary == f"k-{START:%Y-%m-%d}"
    assert (await watch(vault, now=START + DAY).report()).kek == "first", "which still wraps"
    with pytest.raises(RequestRejected, match="cannot write beside"):
        await watch(vault, Barred(vault.keyring_file)).renew("operator")
    assert [act[2] for act in acts(vault)] == ["done", "refused"]


async def test_a_keyring_that_makes_no_sense_is_said_to_be(vault: VaultDatabase) -> None:
    looking = watch(vault)
    vault.keyring_file.write_text("nonsense\n")
    with pytest.raises(SettingsError, match="want a name"):
        await looking.sweep(START)
