"""Which KEK providers create a new primary KEK, and with what effects."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from services.key_vault.encryption.kek_providers import vault_transit
from services.key_vault.encryption.kek_providers.file import FileKeyring, environment_keyring
from services.key_vault.encryption.kek_providers.protocol import CannotRenew, KekUnavailable
from tests.contract.kek_providers.holders import KEY_NAME, REGION, KmsAdministrator, administrator
from tests.contract.kek_providers.transit_double import transit_double
from tests.integration.key_vault.vault_database import keyring_line, write_keyring

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
CONTEXT = {"deployment": "dep_1", "tenant": "acme", "data_key_id": "dek_1"}
DATA_KEY = bytes(range(32))


@pytest.mark.parametrize("holder", ["file", "vault_transit"])
async def test_new_kek_is_primary_in_every_process(
    holder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with administrator(holder, tmp_path, monkeypatch) as admin:
        keys, other = admin.connect(), admin.connect()
        await keys.refresh()
        assert (await keys.check_renewal()).obstacle is None
        former = keys.describe().primary
        before = await keys.encrypt(DATA_KEY, CONTEXT)
        await keys.renew(NOW)
        assert keys.describe().primary != former
        assert former in keys.describe().names
        after = await keys.re_encrypt(before, CONTEXT)
        assert keys.name_of(after) == keys.describe().primary
        await other.refresh()
        assert other.describe() == keys.describe()
        assert await other.decrypt(after, CONTEXT) == await other.decrypt(before, CONTEXT) == DATA_KEY


async def test_new_keyring_line_is_named_by_date_and_the_rest_stays(tmp_path: Path) -> None:
    file = tmp_path / "keks"
    write_keyring(file, "# the company's", keyring_line("k1"))
    before = file.read_text()
    keys = FileKeyring(file)
    for _ in range(3):
        await keys.renew(NOW)
    assert keys.describe().names == ("k-2026-03-14.3", "k-2026-03-14.2", "k-2026-03-14", "k1")
    assert file.read_text().endswith(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.with_name(".keks.new").exists()
    secrets = [line.split()[1] for line in file.read_text().splitlines() if not line.startswith("#")]
    assert len(set(secrets)) == 4


async def test_symlinked_keyring_is_replaced_at_its_target(tmp_path: Path) -> None:
    real, link = tmp_path / "elsewhere" / "keys", tmp_path / "keks"
    real.parent.mkdir()
    write_keyring(real, keyring_line("k1"))
    link.symlink_to(real)
    await FileKeyring(link).renew(NOW)
    assert link.is_symlink()
    assert FileKeyring(real).describe().primary == "k-2026-03-14"


async def test_keyring_that_cannot_be_replaced_stays_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "keks"
    write_keyring(file, keyring_line("k1"))
    keys, before = FileKeyring(file), file.read_text()
    (tmp_path / ".keks.new").mkdir()  # blocks the write for any user
    with pytest.raises(CannotRenew, match="cannot be written"):
        await keys.renew(NOW)
    assert (file.read_text(), keys.describe().primary) == (before, "k1")


async def test_environment_keyring_cannot_renew(tmp_path: Path) -> None:
    keys = environment_keyring({"KEYFERRY_KEKS": keyring_line("k1")})
    assert "cannot write" in ((await keys.check_renewal()).obstacle or "")
    with pytest.raises(CannotRenew):
        await keys.renew(NOW)


async def test_forbidden_and_unavailable_transit_rotation_are_distinguished(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    with transit_double() as double:
        token_file.write_text(double.token)
        double.answer("POST", f"/v1/transit/keys/{KEY_NAME}", double.token, {})
        keys = vault_transit.connect(double.url, KEY_NAME, token_file)
        await keys.refresh()
        double.may_rotate = False
        with pytest.raises(CannotRenew, match="let it write to the key's `rotate` path"):
            await keys.renew(NOW)
        double.sealed = True
        with pytest.raises(KekUnavailable):
            await keys.renew(NOW)
        double.sealed, double.may_rotate = False, True
        await keys.refresh()
        assert keys.describe().names == (f"{KEY_NAME}:v1",), "neither made anything"


async def test_kms_reports_its_own_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with administrator("aws_kms", tmp_path, monkeypatch) as admin:
        keys = admin.connect()
        await keys.refresh()
        renewal = await keys.check_renewal()
        assert renewal.provider_rotation_days is None
        assert "turn on AWS KMS's own rotation" in (renewal.obstacle or "")
        with pytest.raises(CannotRenew, match="turn on its own rotation"):
            await keys.renew(NOW)
        kms = boto3.client("kms", region_name=REGION)
        kms.enable_key_rotation(KeyId=keys.describe().primary)
        assert (await keys.check_renewal()).provider_rotation_days == 365, "what AWS takes where no period is chosen"
        assert isinstance(admin, KmsAdministrator)
        admin.go_away()
        away = admin.connect()
        assert "GetKeyRotationStatus" in ((await away.check_renewal()).obstacle or "")
