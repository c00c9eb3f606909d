"""The settings about grants: what is missing is named, and `off` is off for both proofs."""

from pathlib import Path
from typing import Any

import pytest

from keyferry.runtime.process.settings import SettingsError
from keyferry.sealing.private_keys import public_key_text
from services.key_vault.leases.grants import GrantCheck
from services.key_vault.settings import VaultSettings
from tests.support.vault.grants import Granting

GRANTING = Granting()


def settings(folder: Path, **changes: Any) -> VaultSettings:
    """Return settings of which only those about grants are set."""
    keys, ledger = folder / "grant-keys", folder / "credit-key.pub"
    keys.write_text(GRANTING.file_text)
    ledger.write_text(public_key_text(GRANTING.ledger))
    usual: dict[str, Any] = {
        "grants": "required",
        "credits": "required",
        "grant_keys_file": keys,
        "credit_public_key_file": ledger,
    }
    return VaultSettings.model_construct(None, **(usual | changes))


def check_of(used: VaultSettings) -> GrantCheck | None:
    return used.grant_check(lambda _: None)


def test_grants_and_certificates_are_required_unless_they_are_switched_off(tmp_path: Path) -> None:
    fields = VaultSettings.model_fields
    assert (fields["grants"].default, fields["credits"].default) == ("required", "required")
    required = check_of(settings(tmp_path))
    assert required is not None
    assert required._ledger is not None
    unpaid = check_of(settings(tmp_path, credits="off", credit_public_key_file=None))
    assert unpaid is not None
    assert unpaid._ledger is None
    assert check_of(settings(tmp_path, grants="off", grant_keys_file=None)) is None


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("grant_keys_file", "KEYFERRY_GRANT_KEYS_FILE is missing: KEYFERRY_GRANTS=required needs it"),
        ("credit_public_key_file", "KEYFERRY_CREDIT_PUBLIC_KEY_FILE is missing: KEYFERRY_CREDITS=required needs it"),
    ],
)
def test_a_missing_file_is_named_with_the_setting_that_needs_it(tmp_path: Path, missing: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check_of(settings(tmp_path, **{missing: None}))


@pytest.mark.parametrize("name", ["grant_keys_file", "credit_public_key_file"])
def test_a_damaged_file_is_named_and_not_repeated(tmp_path: Path, name: str) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_text("not-a-key-0123456789")
    with pytest.raises(SettingsError) as caught:
        check_of(settings(tmp_path, **{name: damaged}))
    assert str(damaged) in str(caught.value)
    assert "0123456789" not in str(caught.value)
