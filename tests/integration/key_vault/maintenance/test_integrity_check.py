"""Integrity check of stored keys, at start and on request."""

import pytest

from keyferry.contracts.key import KeyStatus, ProviderKey
from keyferry.runtime.process.settings import CannotStart
from services.key_vault.maintenance.integrity_check import IntegrityCheck, UndecryptableRecords
from tests.integration.key_vault.vault_database import VaultDatabase, keyring_line, write_keyring


def integrity_check(vault: VaultDatabase) -> IntegrityCheck:
    """Return the check of a new process."""
    fresh = vault.restarted()
    return fresh.integrity


async def status(vault: VaultDatabase, key: ProviderKey) -> KeyStatus:
    found = await vault.stores.keys.get(key.tenant, key.key_id)
    assert found is not None
    return found.status


async def test_empty_vault_starts(vault: VaultDatabase) -> None:
    await integrity_check(vault).check_at_start()
    report = await integrity_check(vault).check_all()
    assert (report.records, report.data_keys, report.undecryptable, report.primary) == (0, 0, [], "first")


async def test_intact_vault_starts_and_changes_nothing(vault: VaultDatabase) -> None:
    keys = [(await vault.add(tenant))[0] for tenant in ("acme", "acme", "other")]
    events = vault.rows("SELECT id FROM key_vault.event_outbox")
    await integrity_check(vault).check_at_start()
    assert vault.rows("SELECT id FROM key_vault.event_outbox") == events
    report = await integrity_check(vault).check_all()
    assert (report.records, report.data_keys, report.keks) == (3, 2, {"first": 2})
    assert [await status(vault, key) for key in keys] == [KeyStatus.VALID] * 3


async def test_start_fails_naming_the_missing_kek_and_the_keys(vault: VaultDatabase) -> None:
    lost = [(await vault.add("acme"))[0] for _ in range(3)]
    write_keyring(vault.keyring_file, keyring_line("second"))
    with pytest.raises(UndecryptableRecords) as caught:
        await integrity_check(vault).check_at_start()
    message = str(caught.value)
    assert isinstance(caught.value, CannotStart)
    assert "Missing KEKs: first" in message
    assert "KEYFERRY_START_UNDECRYPTABLE=true" in message
    for key in lost:
        assert key.key_id in message
        assert await status(vault, key) is KeyStatus.VALID, "nothing was marked by a process that did not start"


async def test_start_fails_with_another_kek_of_the_same_name(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    write_keyring(vault.keyring_file, keyring_line("first"))
    with pytest.raises(UndecryptableRecords, match="another key of the same name") as caught:
        await integrity_check(vault).check_at_start()
    assert key.key_id in str(caught.value)


async def test_start_fails_with_a_changed_record(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    vault.execute("UPDATE key_vault.key_records SET record = set_byte(record, 100, get_byte(record, 100) # 1)")
    with pytest.raises(UndecryptableRecords, match=key.key_id):
        await integrity_check(vault).check_at_start()


async def test_start_fails_with_another_deployments_id(vault: VaultDatabase) -> None:
    await vault.add("acme")
    fresh = vault.restarted(deployment="dep_other")
    with pytest.raises(UndecryptableRecords):
        await fresh.integrity.check_at_start()


async def test_start_fails_with_a_broken_data_key_without_records(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    vault.execute("DELETE FROM key_vault.provider_keys WHERE key_id = %s", key.key_id)
    vault.execute("UPDATE key_vault.data_keys SET encrypted_key = encrypted_key || '\\x00'")
    with pytest.raises(UndecryptableRecords, match="0 stored provider keys"):
        await integrity_check(vault).check_at_start()


async def test_many_undecryptable_keys_are_counted_and_the_first_named(vault: VaultDatabase) -> None:
    keys = [(await vault.add("acme"))[0] for _ in range(25)]
    write_keyring(vault.keyring_file, keyring_line("second"))
    with pytest.raises(UndecryptableRecords, match=r"^25 stored provider keys .* and 5 more") as caught:
        await integrity_check(vault).check_at_start()
    assert sum(key.key_id in str(caught.value) for key in keys) == 20


async def test_forced_start_marks_undecryptable_keys_and_restores_them_later(
    vault: VaultDatabase,
) -> None:
    lost, secret = await vault.add("acme")
    keyring = vault.keyring_file.read_text().strip()
    write_keyring(vault.keyring_file, keyring_line("second"))
    found, _ = await vault.restarted().add("other")
    await integrity_check(vault).check_at_start(start_anyway=True)
    assert (await status(vault, lost), await status(vault, found)) == (KeyStatus.UNDECRYPTABLE, KeyStatus.VALID)
    marked = vault.rows("SELECT id FROM key_vault.event_outbox")
    await integrity_check(vault).check_at_start(start_anyway=True)
    assert vault.rows("SELECT id FROM key_vault.event_outbox") == marked, "a marked key is not announced again"
    second = vault.keyring_file.read_text().strip()
    write_keyring(vault.keyring_file, second, keyring)
    await integrity_check(vault).check_at_start()
    assert await status(vault, lost) is KeyStatus.UNTESTED, "it was never tested, so nothing else is known of it"
    assert await vault.restarted().read(lost) == secret


async def test_full_check_decrypts_every_record(vault: VaultDatabase) -> None:
    keys = [(await vault.add("acme"))[0] for _ in range(4)]
    last = max(key.key_id for key in keys)
    vault.execute("UPDATE key_vault.key_records SET record = record || '\\x00' WHERE key_id = %s", last)
    report = await integrity_check(vault).check_all()
    assert (report.records, report.undecryptable) == (4, [last])
    assert (await integrity_check(vault).check_all("other")).records == 0
    assert (await integrity_check(vault).check_all("acme")).undecryptable == [last]


async def test_more_records_than_a_page_are_all_checked(vault: VaultDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.key_vault.maintenance.integrity_check._PAGE_SIZE", 2)
    for tenant in ("a", "a", "a", "a", "a", "b", "c", "d"):
        await vault.add(tenant)
    report = await integrity_check(vault).check_all()
    assert (report.records, report.data_keys, report.undecryptable) == (8, 4, [])
