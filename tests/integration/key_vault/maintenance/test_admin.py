"""The whole vault: what it needs to start, and the operator's requests."""

import asyncio

import pytest

from keyferry.contracts.key import KeyStatus
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import DATA_KEY_ROTATE, KEK_ROTATE, VAULT_SHRED, VAULT_VERIFY
from keyferry.contracts.vault import RotateDataKeys, RotateKek, ShredTenant, VerifyVault
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.process.settings import CannotStart, SettingsError
from services.key_vault.app import create_app
from tests.integration.key_vault.vault_service import Operator, VaultService, Worker, openai_key


async def test_kek_is_rotated_while_the_vault_runs(service: VaultService, worker: Worker, operator: Operator) -> None:
    for tenant in ("acme", "globex"):
        await operator.add(openai_key(), tenant=tenant)
    old = service.files["keks"].read_text()
    service.files.write("keks", f"second {'B' * 42}A\n{old}")
    far = await operator.ask(KEK_ROTATE, RotateKek())
    async with asyncio.timeout(30):
        while far.running:
            await asyncio.sleep(0.02)
            far = await operator.ask(KEK_ROTATE, RotateKek(start=False))
    assert (far.primary, far.total, far.left, far.by_kek) == ("second", 2, 0, {"second": 2})
    report = await operator.ask(VAULT_VERIFY, VerifyVault())
    assert (report.records, report.undecryptable) == (2, [])


async def test_tenants_keys_are_re_encrypted_under_a_new_data_key(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    await operator.add(openai_key())
    report = await operator.ask(DATA_KEY_ROTATE, RotateDataKeys(tenant="acme"))
    assert (report.records, report.data_keys, report.undecryptable) == (1, 1, [])
    with pytest.raises(Refused, match="globex has no provider keys"):
        await operator.ask(DATA_KEY_ROTATE, RotateDataKeys(tenant="globex"))


async def test_shredding_needs_the_name_twice_and_spares_others(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    await operator.add(openai_key())
    kept = await operator.add(openai_key(), tenant="globex")
    with pytest.raises(Refused, match="nothing was destroyed"):
        await operator.ask(VAULT_SHRED, ShredTenant(tenant="acme", confirm="globex"))
    assert len(await operator.keys()) == 1
    done = await operator.ask(VAULT_SHRED, ShredTenant(tenant="acme", confirm="acme"))
    assert (done.keys, done.data_keys) == (1, 1)
    assert await operator.keys() == []
    assert await operator.keys("globex") == [kept]
    acts = [(event.action, event.outcome.value) for event in await service.audited() if event.action == "vault.shred"]
    assert acts == [("vault.shred", "refused"), ("vault.shred", "done")]


async def test_start_fails_naming_the_missing_kek(stopped_service: VaultService) -> None:
    async with stopped_service.vault(), stopped_service.worker(), stopped_service.operator() as operator:
        key = await operator.add(openai_key())
    right = stopped_service.files["keks"].read_text()
    stopped_service.files.write("keks", f"other {'B' * 42}A\n")
    with pytest.raises(
        CannotStart,
        match=rf"1 stored provider keys or integration secrets cannot be decrypted: {key.key_id}.*'?first'?",
    ):
        await create_app(stopped_service.settings()).run()
    stopped_service.files.write("keks", f"first {'B' * 42}A\n")
    with pytest.raises(CannotStart, match="another key of the same name"):
        await create_app(stopped_service.settings()).run()
    async with stopped_service.vault(start_undecryptable=True), stopped_service.operator() as operator:
        assert [one.status for one in await operator.keys()] == [KeyStatus.UNDECRYPTABLE]
    stopped_service.files.write("keks", right)
    async with stopped_service.vault(), stopped_service.operator() as operator:
        assert [one.status for one in await operator.keys()] == [KeyStatus.VALID]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("keks", f"one {'A' * 43}\none {'B' * 42}A\n", "there are two KEKs called 'one'"),
        ("keks", "one\n", "want a name"),
        ("intake-key", "AAAA", "has 3 bytes and not 32"),
        ("signing-key", "not base64 !", "cannot be read"),
        ("fingerprint-key", "AAAA", "has 3 bytes and not 32"),
        ("enrolled-workers", "[]", "JSON object"),
    ],
)
async def test_malformed_files_are_named(stopped_service: VaultService, name: str, text: str, says: str) -> None:
    stopped_service.files.write(name, text)
    with pytest.raises(SettingsError, match=says) as refused:
        create_app(stopped_service.settings())
    assert name in str(refused.value)


async def test_keyring_readable_by_others_is_rejected(stopped_service: VaultService) -> None:
    stopped_service.files["keks"].chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        create_app(stopped_service.settings())


async def test_streams_and_buckets_contain_no_key(service: VaultService, worker: Worker, operator: Operator) -> None:
    secret = Secret(f"sk-proj-{'canary' * 6}A9f2")
    await operator.add(secret)
    assert await operator.keys()
    await service.audited()
    stored = [path.read_bytes() for path in service.bus.store.rglob("*") if path.is_file()]
    assert any(b"key.changed" in content for content in stored), "the streams are where they are looked for"
    assert not any(secret.reveal().encode() in content for content in stored)
