"""Concurrent leases are written in batches, without affecting each other.

Each is asked for in both ways: with what the key has to be, so that one statement does everything, and without.
"""

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import update

from keyferry.contracts import ids
from keyferry.contracts.key import KeyStatus, ProviderKey
from services.key_vault.database.tables import provider_keys
from services.key_vault.database.transaction import Act
from services.key_vault.leases.store import LeaseCriteria, Leased, Nonce, Replayed
from tests.integration.key_vault.vault_database import CREATED_AT, VaultDatabase, act


@pytest.fixture(params=[True, False], ids=["one statement", "two statements"], autouse=True)
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(f"{__name__}.criteria", lambda _: None)


def criteria(key: ProviderKey) -> LeaseCriteria | None:
    return LeaseCriteria(key.provider, key.origin, CREATED_AT)


def nonce() -> Nonce:
    return Nonce(ids.new("non"), CREATED_AT)


def lease(vault: VaultDatabase, key: ProviderKey, once: Nonce | None = None) -> "asyncio.Task[Leased | None]":
    """Lease a key that has to be valid."""

    def check(found: ProviderKey) -> None:
        if found.status is not KeyStatus.VALID:
            raise LookupError(found.key_id)

    leasing = act("key.lease", key)
    return asyncio.create_task(
        vault.stores.leases.lease(key.tenant, key.key_id, leasing, once or nonce(), check, criteria(key))
    )


def written(vault: VaultDatabase) -> list[object]:
    """Return the keys whose lease is committed, in order."""
    rows = vault.rows(
        "SELECT convert_from(payload, 'UTF8')::json->>'target' AS target FROM key_vault.event_outbox"
        " WHERE convert_from(payload, 'UTF8')::json->>'action' = 'key.lease' ORDER BY id"
    )
    return [row["target"] for row in rows]


async def test_each_concurrent_lease_gets_its_key_and_is_audited_once(vault: VaultDatabase) -> None:
    keys = [(await vault.add(tenant))[0] for tenant in ("acme", "globex", "acme", "globex", "initech")]
    asked = keys * 40
    leases = await asyncio.gather(*(lease(vault, key) for key in asked))
    assert [found and found.key for found in leases] == asked
    assert [found and found.data_key.tenant for found in leases] == [key.tenant for key in asked]
    assert sorted(map(str, written(vault))) == sorted(key.key_id for key in asked)
    assert len(vault.rows("SELECT nonce FROM key_vault.lease_nonces")) == len(asked)


async def test_refused_lease_does_not_affect_others_in_the_batch(vault: VaultDatabase) -> None:
    good, off, gone = [(await vault.add("acme"))[0] for _ in range(3)]
    vault.execute("UPDATE key_vault.provider_keys SET status = 'disabled' WHERE key_id = %s", off.key_id)
    await vault.stores.keys.delete(gone, act("key.remove", gone), "Removed.")
    stolen = good.model_copy(update={"tenant": "globex"})
    used = nonce()
    assert await lease(vault, good, used) is not None
    results = await asyncio.gather(
        *(lease(vault, key) for key in (good, off, gone, stolen, good)),
        lease(vault, good, used),
        return_exceptions=True,
    )
    kinds = [type(result) for result in results]
    assert kinds == [Leased, LookupError, type(None), type(None), Leased, Replayed]
    assert written(vault) == [good.key_id] * 3


async def test_locked_key_does_not_delay_other_leases(vault: VaultDatabase) -> None:
    busy, free = [(await vault.add("acme"))[0] for _ in range(2)]
    async with vault.engine.connect() as connection, connection.begin() as transaction:
        chosen = update(provider_keys).where(provider_keys.c.key_id == busy.key_id)
        await connection.execute(chosen.values(status="disabled"))
        waits = lease(vault, busy)
        async with asyncio.timeout(30):
            assert all(await asyncio.gather(*(lease(vault, free) for _ in range(50))))
        assert not waits.done()
        await transaction.commit()
    with pytest.raises(LookupError):
        await waits
    assert written(vault) == [free.key_id] * 50


async def test_cancelled_lease_does_not_affect_others_in_the_batch(vault: VaultDatabase) -> None:
    keys = [(await vault.add("acme"))[0] for _ in range(4)]
    leases = [lease(vault, key) for key in keys]
    await asyncio.sleep(0)
    leases[1].cancel()
    results = await asyncio.gather(*leases, return_exceptions=True)
    assert [type(result) for result in results] == [Leased, asyncio.CancelledError, Leased, Leased]
    assert await lease(vault, keys[1]) is not None


async def test_audit_names_the_leased_version_whatever_the_other_details(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    vault.execute("UPDATE key_vault.key_records SET version = 7")
    vault.execute("UPDATE key_vault.provider_keys SET version = 7")
    odd = Act("operator", "key.lease", "acme", key.key_id, details={"instance": '"version":"1"', "attempt": "\\"})
    leased = await vault.stores.leases.lease("acme", key.key_id, odd, nonce(), criteria=criteria(key))
    assert leased is not None
    assert leased.key.version == 7
    (row,) = vault.rows(
        "SELECT convert_from(payload, 'UTF8') AS event FROM key_vault.event_outbox ORDER BY id DESC LIMIT 1"
    )
    details = json.loads(str(row["event"]))["details"]
    assert details == {**odd.details, "provider": "openai", "version": "7"}


CHANGES = {
    "provider": "provider = 'mistral'",
    "origin": "origin = 'https://elsewhere.example'",
    "status": "status = 'invalid'",
    "limit": "over_limit = true",
    "expiry": "expires_at = created_at",
    "record": "version = 2",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_key_that_misses_the_criteria_is_left_to_the_check(vault: VaultDatabase, change: str) -> None:
    key, _ = await vault.add("acme")
    vault.execute(f"UPDATE key_vault.provider_keys SET {CHANGES[change]} WHERE key_id = %s", key.key_id)

    def refuse(found: ProviderKey) -> None:
        raise LookupError(found.key_id)

    asking = vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce(), refuse, criteria(key))
    if change == "record":
        assert await asking is None
    else:
        with pytest.raises(LookupError):
            await asking
    assert written(vault) == []
    assert vault.rows("SELECT nonce FROM key_vault.lease_nonces") == []


async def test_key_that_expires_later_is_leased(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    vault.execute("UPDATE key_vault.provider_keys SET expires_at = %s", CREATED_AT + timedelta(seconds=1))
    assert await lease(vault, key) is not None
