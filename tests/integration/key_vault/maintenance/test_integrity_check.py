"""Whether what is stored opens: at the start of a process, and on request."""

import pytest

from keyferry.contracts.key import KeyStatus, ProviderKey
from keyferry.runtime.process.settings import CannotStart
from services.key_vault.maintenance.integrity_check import IntegrityCheck, UndecryptableRecords
from tests.integration.key_vault.vault_database import VaultDatabase, keyring_line, write_keyring


def verification(vault: VaultDatabase) -> IntegrityCheck:
    """That of a process that was just started."""
    fresh = vault.restarted()
    return fresh.integrity


async def status(vault: VaultDatabase, key: ProviderKey) -> KeyStatus:
    found = await vault.stores.keys.get(key.tenant, key.key_id)
    assert found is not None
    return found.status


async def test_an_empty_vault_starts(vault: VaultDatabase) -> None:
    await verification(vault).check_at_start()
    report = await verification(vault).check_all()
    assert (report.records, report.data_keys, report.undecryptable, report.primary) == (0, 0, [], "first")


async def test_a_whole_vault_starts_and_changes_nothing(vault: VaultDatabase) -> None:
    keys = [(await vault.add(tenant))[0] for tenant in ("acme", "acme", "other")]
    told = vault.rows("SELECT id FROM key_vault.event_outbox")
    await verification(vault).check_at_start()
    assert vault.rows("SELECT id FROM key_vault.event_outbox") == told
    report = await verification(vault).check_all()
    assert (report.records, report.data_keys, report.keks) == (3, 2, {"first": 2})
    assert [await status(vault, key) for key in keys] == [KeyStatus.VALID] * 3


async def test_it_does_not_start_without_a_kek_and_names_it_and_the_keys(vault: VaultDatabase) -> None:
    lost = [(await vault.add("acme"))[0] for _ in range(3)]
    write_keyring(vault.keyring_file, keyring_line("second"))
    with pytest.raises(UndecryptableRecords) as caught:
        await verification(vault).check_at_start()
    message = str(caught.value)
    assert isinstance(caught.value, CannotStart)
    assert "Missing KEKs: first" in message
    assert "KEYFERRY_START_UNDECRYPTABLE=true" in message
    for key in lost:
        assert key.key_id in message
        assert await status(vault, key) is KeyStatus.VALID, "nothing was marked by a process that did not start"


async def test_another_kek_of_the_same_name_does_not_start_it_either(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    write_keyring(vault.keyring_file, keyring_line("first"))
    with pytest.raises(UndecryptableRecords, match="another key of the same name") as caught:
        await verification(vault).check_at_start()
    assert key.key_id in str(caught.value)


async def test_a_changed_record_does_not_start_it(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    vault.execute("UPDATE key_vault.key_records SET record = set_byte(record, 100, get_byte(record, 100) # 1)")
    with pytest.raises(UndecryptableRecords, match=key.key_id):
        await verification(vault).check_at_start()


async def test_another_deployments_id_does_not_start_it(vault: VaultDatabase) -> None:
    await vault.add("acme")
    fresh = vault.restarted(deployment="dep_other")
    with pytest.raises(UndecryptableRecords):
        await fresh.integrity.check_at_start()


async def test_a_broken_data_key_without_any_record_does_not_start_it(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    vault.execute("DELETE FROM key_vault.provider_keys WHERE key_id = %s", key.key_id)
    vault.execute("UPDATE key_vault.data_keys SET encrypted_key = encrypted_key || '\\x00'")
    with pytest.raises(UndecryptableRecords, match="0 stored provider keys"):
        await verification(vault).check_at_start()


async def test_many_lost_keys_are_counted_and_the_first_ones_named(vault: VaultDatabase) -> None:
    keys = [(await vault.add("acme"))[0] for _ in range(25)]
    write_keyring(vault.keyring_file, keyring_line("second"))
    with pytest.raises(UndecryptableRecords, match=r"^25 stored provider keys .* and 5 more") as caught:
        await verification(vault).check_at_start()
    assert sum(key.key_id in str(caught.value) for key in keys) == 20


async def test_told_to_start_all_the_same_it_marks_the_lost_keys_and_goes_back_on_it_later(
    vault: VaultDatabase,
) -> None:
    lost, secret = await vault.add("acme")
    keyring = vault.keyring_file.read_text().strip()
    write_keyring(vault.keyring_file, keyring_line("second"))
    found, _ = await vault.restarted().add("other")
    await verification(vault).check_at_start(start_anyway=True)
    assert (await status(vault, lost), await status(vault, found)) == (KeyStatus.UNDECRYPTABLE, KeyStatus.VALID)
    marked = vault.rows("SELECT id FROM key_vault.event_outbox")
    await verification(vault).check_at_start(start_anyway=True)
    assert vault.rows("SELECT id FROM key_vault.event_outbox") == marked, "what is marked already is not told again"
    second = vault.keyring_file.read_text().strip()
    write_keyring(vault.keyring_file, second, keyring)
    await verification(vault).check_at_start()
    assert await status(vault, lost) is KeyStatus.UNTESTED, "it was never tested, so nothing else is known of it"
    assert await vault.restarted().read(lost) == secret


async def test_a_verification_opens_every_record_not_one_of_each_data_key(vault: VaultDatabase) -> None:
    keys = [(await vault.add("acme"))[0] for _ in range(4)]
    last = max(key.key_id for key in keys)
    vault.execute("UPDATE key_vault.key_records SET record = record || '\\x00' WHERE key_id = %s", last)
    report = await verification(vault).check_all()
    assert (report.records, report.undecryptable) == (4, [last])
    assert (await verification(vault).check_all("other")).records == 0
    assert (await verification(vault).check_all("acme")).undecryptable == [last]


async def test_more_records_than_a_page_are_all_opened(vault: VaultDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.key_vault.maintenance.integrity_check._PAGE_SIZE", 2)
    for tenant in ("a", "a", "a", "a", "a", "b", "c", "d"):
        await vault.add(tenant)
    report = await verification(vault).check_all()
    assert (report.records, report.data_keys, report.undecryptable) == (8, 4, [])
