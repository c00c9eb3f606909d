"""The vault as a whole: what it needs to start, what an operator does with it, and who may do it."""

import asyncio

import pytest

from keyferry.contracts.key import (
    KekRotation,
    KeyStatus,
    RotateDataKeys,
    RotateKek,
    Shredded,
    ShredTenant,
    VaultReport,
    VerifyVault,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import VAULT_RESEAL, VAULT_ROTATE, VAULT_SHRED, VAULT_VERIFY
from keyferry.runtime.bus.connection import Refused
from keyferry.runtime.process.settings import CannotStart, SettingsError
from services.key_vault.app import create_app
from tests.integration.key_vault.service.surroundings import Operator, Surroundings, Worker, openai_key


async def test_the_kek_is_rotated_while_it_runs(vault: Surroundings, worker: Worker, operator: Operator) -> None:
    for tenant in ("acme", "globex"):
        await operator.add(openai_key(), tenant=tenant)
    old = vault.files["keks"].read_text()
    vault.files.write("keks", f"second {'B' * 42}A\n{old}")
    far = await operator.ask(VAULT_ROTATE, RotateKek(), KekRotation)
    async with asyncio.timeout(30):
        while far.running:
            await asyncio.sleep(0.02)
            far = await operator.ask(VAULT_ROTATE, RotateKek(start=False), KekRotation)
    assert (far.primary, far.total, far.left, far.by_kek) == ("second", 2, 0, {"second": 2})
    report = await operator.ask(VAULT_VERIFY, VerifyVault(), VaultReport)
    assert (report.records, report.undecryptable) == (2, [])


async def test_a_tenants_keys_under_a_fresh_data_key(vault: Surroundings, worker: Worker, operator: Operator) -> None:
    await operator.add(openai_key())
    report = await operator.ask(VAULT_RESEAL, RotateDataKeys(tenant="acme"), VaultReport)
    assert (report.records, report.data_keys, report.undecryptable) == (1, 1, [])
    with pytest.raises(Refused, match="globex has no provider keys"):
        await operator.ask(VAULT_RESEAL, RotateDataKeys(tenant="globex"), VaultReport)


async def test_shredding_wants_the_name_twice_and_spares_the_others(
    vault: Surroundings, worker: Worker, operator: Operator
) -> None:
    await operator.add(openai_key())
    kept = await operator.add(openai_key(), tenant="globex")
    with pytest.raises(Refused, match="nothing was destroyed"):
        await operator.ask(VAULT_SHRED, ShredTenant(tenant="acme", confirm="globex"), Shredded)
    assert len(await operator.keys()) == 1
    done = await operator.ask(VAULT_SHRED, ShredTenant(tenant="acme", confirm="acme"), Shredded)
    assert (done.keys, done.data_keys) == (1, 1)
    assert await operator.keys() == []
    assert await operator.keys("globex") == [kept]
    acts = [(event.action, event.outcome.value) for event in await vault.audited() if event.action == "vault.shred"]
    assert acts == [("vault.shred", "refused"), ("vault.shred", "done")]


async def test_it_does_not_start_without_the_kek_and_says_which(surroundings: Surroundings) -> None:
    async with surroundings.vault(), surroundings.worker(), surroundings.operator() as operator:
        key = await operator.add(openai_key())
    right = surroundings.files["keks"].read_text()
    surroundings.files.write("keks", f"other {'B' * 42}A\n")
    with pytest.raises(CannotStart, match=rf"1 stored provider keys cannot be opened: {key.key_id}.*'?first'?"):
        await create_app(surroundings.settings()).run()
    surroundings.files.write("keks", f"first {'B' * 42}A\n")
    with pytest.raises(CannotStart, match="another key of the same name"):
        await create_app(surroundings.settings()).run()
    async with surroundings.vault(start_undecryptable=True), surroundings.operator() as operator:
        assert [one.status for one in await operator.keys()] == [KeyStatus.UNDECRYPTABLE]
    surroundings.files.write("keks", right)
    async with surroundings.vault(), surroundings.operator() as operator:
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
async def test_files_that_make_no_sense_are_named(surroundings: Surroundings, name: str, text: str, says: str) -> None:
    surroundings.files.write(name, text)
    with pytest.raises(SettingsError, match=says) as refused:
        create_app(surroundings.settings())
    assert name in str(refused.value)


async def test_a_keyring_that_others_can_read_is_refused(surroundings: Surroundings) -> None:
    surroundings.files["keks"].chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        create_app(surroundings.settings())


async def test_no_key_is_in_what_the_bus_keeps(vault: Surroundings, worker: Worker, operator: Operator) -> None:
    secret = Secret(f"sk-proj-{'canary' * 6}A9f2")
    await operator.add(secret)
    assert await operator.keys()
    await vault.audited()
    stored = [path.read_bytes() for path in vault.bus.seeds.rglob("*") if path.is_file()]
    assert any(b"key.changed" in content for content in stored), "the streams are where they are looked for"
    assert not any(secret.reveal().encode() in content for content in stored)
