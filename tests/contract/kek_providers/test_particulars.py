"""The behaviour of single KEK providers: bad files, missing libraries, calls that must not be made."""

import sys
from pathlib import Path

import pytest
from moto import mock_aws

from keyferry.runtime.process.settings import SettingsError
from services.key_vault.encryption.kek_providers import aws_kms, vault_transit
from services.key_vault.encryption.kek_providers.file import FileKeyring, environment_keyring
from tests.contract.kek_providers.holders import KEY_NAME, KmsAdministrator, TransitAdministrator
from tests.contract.kek_providers.transit_double import transit_double
from tests.integration.key_vault.vault_database import keyring_line, write_keyring

CONTEXT = {"deployment": "dep_1", "tenant": "acme", "data_key_id": "dek_1"}
GOOD = keyring_line("good")


def keyring(directory: Path, *lines: str) -> FileKeyring:
    file = directory / "keks"
    write_keyring(file, *lines)
    return FileKeyring(file)


def test_the_first_line_is_primary(tmp_path: Path) -> None:
    described = keyring(tmp_path, "# made in spring", "", keyring_line("second"), keyring_line("first")).describe()
    assert (described.primary, described.names) == ("second", ("second", "first"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o660, 0o644])
def test_keyring_accessible_to_others_is_rejected(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "keks"
    write_keyring(file, GOOD)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode 0{mode:o}.*chmod 600"):
        FileKeyring(file)


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ((), "holds no KEK"),
        (("# nothing",), "holds no KEK"),
        ((keyring_line("twin"), GOOD, keyring_line("twin")), "line 3: there are two KEKs called 'twin'"),
        (("alone",), "line 1: want a name"),
        ((GOOD, f"{GOOD} more"), "line 2: want a name"),
        (("sl/ash " + GOOD.split()[1],), "line 1: want a name"),
        (("short AAAA",), "a KEK has 32 bytes, this one has 3"),
        (("long " + "A" * 64,), "a KEK has 32 bytes, this one has 48"),
        (("odd " + "+" * 43,), "not base64url"),
    ],
)
def test_malformed_keyring_is_rejected_with_the_line(tmp_path: Path, lines: tuple[str, ...], detail: str) -> None:
    with pytest.raises(SettingsError, match=detail) as caught:
        keyring(tmp_path, *lines)
    assert GOOD.split()[1] not in str(caught.value)


def test_missing_keyring_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read the keyring"):
        FileKeyring(tmp_path / "nothing")


async def test_another_kek_of_the_same_name_is_named(tmp_path: Path) -> None:
    blob = await keyring(tmp_path, keyring_line("same")).encrypt(bytes(32), CONTEXT)
    with pytest.raises(Exception, match="another key of the same name"):
        await keyring(tmp_path, keyring_line("same")).decrypt(blob, CONTEXT)


async def test_malformed_keyring_leaves_the_loaded_keks(tmp_path: Path) -> None:
    keys = keyring(tmp_path, GOOD)
    blob = await keys.encrypt(bytes(32), CONTEXT)
    write_keyring(tmp_path / "keks", "spoiled")
    with pytest.raises(SettingsError, match="want a name"):
        await keys.refresh()
    assert await keys.decrypt(blob, CONTEXT) == bytes(32)


async def test_environment_keyring_works_except_in_production() -> None:
    variables = {"KEYFERRY_KEKS": GOOD}
    keys = environment_keyring(variables)
    assert await keys.decrypt(await keys.encrypt(bytes(32), CONTEXT), CONTEXT) == bytes(32)
    assert keys.describe().provider == "env"
    with pytest.raises(SettingsError, match="KEYFERRY_KEKS_FILE") as caught:
        environment_keyring(variables | {"KEYFERRY_ENV": "prod"})
    assert GOOD.split()[1] not in str(caught.value)


def test_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("boto3", "hvac"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SettingsError, match="need boto3: install the extra `aws-kms`"):
        aws_kms.connect("alias/keyferry", region="eu-central-1")
    with pytest.raises(SettingsError, match="need hvac: install the extra `vault-transit`"):
        vault_transit.connect("http://127.0.0.1:1", KEY_NAME, tmp_path / "token")


async def test_unknown_kms_key_raises_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with mock_aws():
        KmsAdministrator(monkeypatch)
        keys = aws_kms.connect("00000000-0000-0000-0000-000000000000", region="eu-central-1")
        with pytest.raises(SettingsError, match="cannot be used"):
            await keys.refresh()


def test_kms_needs_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(SettingsError, match="set a region"):
        aws_kms.connect("alias/keyferry")


async def test_unknown_transit_key_raises_a_settings_error(tmp_path: Path) -> None:
    with transit_double() as double:
        TransitAdministrator(double, tmp_path / "token")
        keys = vault_transit.connect(double.url, "unknown", tmp_path / "token")
        with pytest.raises(SettingsError, match="vault write -f transit/keys/unknown"):
            await keys.refresh()


async def test_renewed_token_is_read_again(tmp_path: Path) -> None:
    with transit_double() as double:
        keys = TransitAdministrator(double, tmp_path / "token").connect()
        blob = await keys.encrypt(bytes(32), CONTEXT)
        double.token = "hvs.renewed"
        with pytest.raises(Exception, match="Forbidden"):
            await keys.decrypt(blob, CONTEXT)
        (tmp_path / "token").write_text("hvs.renewed\n")
        assert await keys.decrypt(blob, CONTEXT) == bytes(32)


async def test_engines_own_re_encryption_is_not_used_as_it_drops_associated_data(tmp_path: Path) -> None:
    with transit_double() as double:
        admin = TransitAdministrator(double, tmp_path / "token")
        keys = admin.connect()
        blob = await keys.encrypt(bytes(32), CONTEXT)
        admin.renew()
        await keys.re_encrypt(blob, CONTEXT)
        assert "rewrap" not in double.calls
