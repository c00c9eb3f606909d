"""The behaviour that every KEK provider shares."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.key_vault.encryption.kek_providers.protocol import KekMissing, KekProvider, KekUnavailable
from services.key_vault.encryption.record_cipher import Undecryptable
from tests.contract.kek_providers.holders import Administrator, administrator

HOLDERS = ("file", "aws_kms", "vault_transit")
CONTEXT = {"deployment": "dep_1", "tenant": "acme", "data_key_id": "dek_1"}
DATA_KEY = bytes(range(32))


@pytest.fixture(params=HOLDERS)
def admin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Administrator]:
    with administrator(request.param, tmp_path, monkeypatch) as admin:
        yield admin


async def connected(admin: Administrator) -> KekProvider:
    keys = admin.connect()
    await keys.refresh()
    return keys


async def test_data_key_is_decrypted_by_another_process(admin: Administrator) -> None:
    blob = await (await connected(admin)).encrypt(DATA_KEY, CONTEXT)
    assert await (await connected(admin)).decrypt(blob, CONTEXT) == DATA_KEY
    assert DATA_KEY not in blob


async def test_blob_names_the_primary_kek(admin: Administrator) -> None:
    keys = await connected(admin)
    described = keys.describe()
    assert described.names[0] == described.primary
    assert keys.name_of(await keys.encrypt(DATA_KEY, CONTEXT)) == described.primary


@pytest.mark.parametrize("name", sorted(CONTEXT))
async def test_data_key_is_bound_to_every_part_of_its_context(admin: Administrator, name: str) -> None:
    keys = await connected(admin)
    blob = await keys.encrypt(DATA_KEY, CONTEXT)
    with pytest.raises(Undecryptable):
        await keys.decrypt(blob, CONTEXT | {name: "elsewhere"})
    with pytest.raises(Undecryptable):
        await keys.re_encrypt(blob, CONTEXT | {name: "elsewhere"})
    with pytest.raises(Undecryptable):
        await keys.decrypt(blob, {other: value for other, value in CONTEXT.items() if other != name})


async def test_only_an_unchanged_blob_is_decrypted(admin: Administrator) -> None:
    keys = await connected(admin)
    blob = await keys.encrypt(DATA_KEY, CONTEXT)
    damaged = [b"", b"\x01", b"\x02" + blob[1:], blob[:-1], blob[:5], blob + b"\x00", os.urandom(len(blob))]
    damaged += [blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :] for at in (0, 3, 6, len(blob) - 20, len(blob) - 3)]
    for data in damaged:
        with pytest.raises(Undecryptable):
            await keys.decrypt(data, CONTEXT)


async def test_new_kek_encrypts_and_the_former_one_still_decrypts(admin: Administrator) -> None:
    keys = await connected(admin)
    before = await keys.encrypt(DATA_KEY, CONTEXT)
    admin.renew()
    await keys.refresh()
    after = await keys.encrypt(DATA_KEY, CONTEXT)
    assert keys.name_of(after) == keys.describe().primary != keys.name_of(before)
    assert await keys.decrypt(before, CONTEXT) == await keys.decrypt(after, CONTEXT) == DATA_KEY


async def test_re_encryption_moves_a_data_key_to_the_new_kek(admin: Administrator) -> None:
    keys = await connected(admin)
    old = await keys.encrypt(DATA_KEY, CONTEXT)
    admin.renew()
    await keys.refresh()
    new = await keys.re_encrypt(old, CONTEXT)
    assert keys.name_of(new) == keys.describe().primary
    admin.lose(keys.name_of(old))
    fresh = await connected(admin)
    assert await fresh.decrypt(new, CONTEXT) == DATA_KEY
    with pytest.raises(KekMissing):
        await fresh.decrypt(old, CONTEXT)


async def test_process_without_the_new_kek_loads_it_on_demand(admin: Administrator) -> None:
    behind = await connected(admin)
    admin.renew()
    blob = await (await connected(admin)).encrypt(DATA_KEY, CONTEXT)
    assert await behind.decrypt(blob, CONTEXT) == DATA_KEY


async def test_missing_kek_is_named(admin: Administrator) -> None:
    keys = await connected(admin)
    blob = await keys.encrypt(DATA_KEY, CONTEXT)
    name = keys.name_of(blob)
    admin.renew()
    admin.lose(name)
    fresh = await connected(admin)
    for attempt in (fresh.decrypt, fresh.re_encrypt):
        with pytest.raises(KekMissing, match=re.escape(name)) as caught:
            await attempt(blob, CONTEXT)
        assert caught.value.name == name


async def test_blob_of_another_kek_provider_is_named(admin: Administrator, tmp_path: Path) -> None:
    keys = await connected(admin)
    blob = await keys.encrypt(DATA_KEY, CONTEXT)
    held_by = keys.describe().provider.encode()
    with pytest.raises(KekMissing, match="is held by 'xxx"):
        await keys.decrypt(blob.replace(held_by, b"x" * len(held_by), 1), CONTEXT)


async def test_unavailable_kek_provider_raises_kek_unavailable(admin: Administrator) -> None:
    keys = await connected(admin)
    blob = await keys.encrypt(DATA_KEY, CONTEXT)
    admin.renew()
    newer = await (await connected(admin)).encrypt(DATA_KEY, CONTEXT)
    admin.go_away()
    if keys.describe().provider == "aws_kms":  # an address is fixed when a client is made
        keys = admin.connect()
    with pytest.raises(KekUnavailable):
        await keys.decrypt(newer, CONTEXT)
    if keys.describe().provider != "file":  # what was read from the file is still known
        with pytest.raises(KekUnavailable):
            await keys.decrypt(blob, CONTEXT)


async def test_no_error_shows_a_data_key(admin: Administrator) -> None:
    keys = await connected(admin)
    blob = await keys.encrypt(DATA_KEY, CONTEXT)
    with pytest.raises(Undecryptable) as caught:
        await keys.decrypt(blob, CONTEXT | {"tenant": "other"})
    assert DATA_KEY.hex() not in repr(caught.value)
    assert caught.value.__cause__ is None
