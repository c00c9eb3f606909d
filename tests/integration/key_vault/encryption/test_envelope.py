"""Envelope encryption, and data keys in memory."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from keyferry.contracts.secret import Secret
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.file import FileKeyring
from services.key_vault.encryption.kek_providers.protocol import KekMissing
from services.key_vault.encryption.record_cipher import Undecryptable
from tests.integration.key_vault.vault_database import (
    DEPLOYMENT,
    FINGERPRINT_KEY,
    VaultDatabase,
    keyring_line,
    provider_key,
    write_keyring,
)


class Counted(FileKeyring):
    """A keyring that counts decryptions."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.decryptions = 0

    async def decrypt(self, blob: bytes, context: Mapping[str, str]) -> bytes:
        self.decryptions += 1
        return await super().decrypt(blob, context)


async def test_each_tenant_has_its_own_data_key(vault: VaultDatabase) -> None:
    for tenant in ("acme", "acme", "other"):
        await vault.add(tenant)
    rows = vault.rows("SELECT tenant, kek, is_primary FROM key_vault.data_keys ORDER BY tenant")
    assert [(row["tenant"], row["kek"], row["is_primary"]) for row in rows] == [
        ("acme", "first", True),
        ("other", "first", True),
    ]


async def test_concurrent_first_keys_of_a_tenant_share_one_data_key(vault: VaultDatabase) -> None:
    vaults = [vault.restarted() for _ in range(6)]
    added = await asyncio.gather(*(each.add("acme") for each in vaults))
    assert len(vault.rows("SELECT * FROM key_vault.data_keys")) == 1
    assert [await vault.restarted().read(key) for key, _ in added] == [secret for _, secret in added]


async def test_data_key_is_decrypted_again_only_after_its_ttl(vault: VaultDatabase) -> None:
    key, secret = await vault.add("acme")
    moment = 0.0
    keks = Counted(vault.keyring_file)
    data_keys = DataKeys(vault.stores.data_keys, keks, DEPLOYMENT, ttl_seconds=60, clock=lambda: moment)
    encryption = EnvelopeEncryption(data_keys, DEPLOYMENT, FINGERPRINT_KEY)
    record = await vault.stores.records.get("acme", key.key_id, 1)
    assert record is not None
    for moment, decryptions in ((0.0, 1), (59.0, 1), (60.0, 2), (61.0, 2), (1000.0, 3)):  # noqa: B007  # the clock's
        assert await encryption.decrypt(key, record) == secret
        assert keks.decryptions == decryptions
    data_keys.evict("other")
    assert await encryption.decrypt(key, record) == secret
    assert keks.decryptions == 3
    data_keys.evict("acme")
    assert await encryption.decrypt(key, record) == secret
    assert keks.decryptions == 4


async def test_another_process_evicts_a_shredded_data_key_after_its_ttl(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    moment = 0.0
    data_keys = DataKeys(vault.stores.data_keys, vault.keks, DEPLOYMENT, ttl_seconds=60, clock=lambda: moment)
    encryption = EnvelopeEncryption(data_keys, DEPLOYMENT, FINGERPRINT_KEY)
    record = await vault.stores.records.get("acme", key.key_id, 1)
    assert record is not None
    await encryption.decrypt(key, record)
    vault.execute("DELETE FROM key_vault.provider_keys")
    vault.execute("DELETE FROM key_vault.data_keys")
    moment = 60.0
    with pytest.raises(Undecryptable, match="does not exist: it was shredded"):
        await encryption.decrypt(key, record)


async def test_missing_kek_is_named_when_a_key_is_decrypted(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    write_keyring(vault.keyring_file, keyring_line("second"))
    with pytest.raises(KekMissing, match=r"'first' is missing: put its line back into the keyring"):
        await vault.restarted().read(key)


@pytest.mark.parametrize("text", ["k", "sk-" + "x" * 30_000, "a b", "ключ", "{}"])
async def test_any_text_survives_encryption(vault: VaultDatabase, text: str) -> None:
    key, _ = await vault.add("acme", Secret(text))
    assert await vault.restarted().read(key) == Secret(text)


def test_fingerprint_is_equal_only_for_the_same_key_of_the_same_tenant(vault: VaultDatabase) -> None:
    secret, other = Secret("sk-1"), Secret("sk-2")
    fingerprint = vault.encryption.fingerprint("acme", secret)
    assert fingerprint == vault.restarted().encryption.fingerprint("acme", secret)
    assert len(fingerprint) == 16
    int(fingerprint, 16)
    others = {
        vault.encryption.fingerprint("acme", other),
        vault.encryption.fingerprint("other", secret),
        EnvelopeEncryption(vault.data_keys, DEPLOYMENT, bytes(32)).fingerprint("acme", secret),
    }
    assert len(others | {fingerprint}) == 4


async def test_no_repr_shows_a_secret(vault: VaultDatabase) -> None:
    secret = Secret("sk-do-not-show")
    key = provider_key("acme")
    await vault.encryption.encrypt(key, secret)
    data_key = await vault.data_keys.get_or_create_primary("acme")
    for shown in (repr(data_key), str(data_key), repr(vault.encryption), repr(vault.data_keys), repr(vault.keks)):
        assert data_key.material.hex() not in shown
        assert repr(data_key.material) not in shown
    assert not hasattr(vault.encryption, "__getstate__") or secret.reveal() not in repr(vars(vault.encryption))


def test_fingerprint_key_of_wrong_length_is_rejected(vault: VaultDatabase) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        EnvelopeEncryption(vault.data_keys, DEPLOYMENT, b"short")
