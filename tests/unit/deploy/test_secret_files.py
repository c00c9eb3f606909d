"""Secrets are generated once and then kept; a public key always matches its private key."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import secret_files
from deploy.embedded.home import Home
from keyferry.contracts.secret import Secret
from keyferry.sealing.private_keys import opening_key, public_key_text, signing_key


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def keys_match(home: Home) -> bool:
    intake = opening_key(Secret(secret_files.intake_key(home).read_text()))
    signer = signing_key(Secret(secret_files.signing_key(home).read_text()))
    return (
        public_key_text(intake) == secret_files.intake_public_key(home).read_text()
        and public_key_text(signer) == secret_files.vault_public_key(home).read_text()
    )


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let every file be created with all the permissions that its creator asks for."""
    umask = os.umask(0)
    yield
    os.umask(umask)


@pytest.mark.usefixtures("open_umask")
def test_secrets_are_kept_and_only_their_owner_can_read_them(home: Home) -> None:
    makers = (
        secret_files.token_pepper, secret_files.keks, secret_files.intake_key, secret_files.signing_key,
        secret_files.fingerprint_key, secret_files.deployment_id, secret_files.identity_key,
        secret_files.operator_token, secret_files.audit_key,
    )  # fmt: skip
    made = {path: path.read_text() for maker in makers for path in [maker(home, 1)]}
    assert len(made) == len(makers)
    assert {path: path.read_text() for maker in makers for path in [maker(home, 1)]} == made
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in made)
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in made} == {0o700}
    assert keys_match(home)


@pytest.mark.parametrize("lost", ["intake-key", "signing-key", "intake-key.pub", "signing-key.pub"])
def test_a_lost_key_is_replaced_by_a_matching_pair(home: Home, lost: str) -> None:
    assert keys_match(home)
    (home.secrets / "vault" / lost).unlink()
    assert keys_match(home)


def test_the_enrolled_workers_are_the_identity_keys_of_the_slots(home: Home) -> None:
    enrolled = json.loads(secret_files.enrolled_workers(home, 2).read_text())
    identities = {
        f"provider-worker-{slot}": public_key_text(
            signing_key(Secret(secret_files.identity_key(home, slot).read_text()))
        )
        for slot in (1, 2)
    }
    assert enrolled == identities
    secret_files.identity_key(home, 1).unlink()
    assert json.loads(secret_files.enrolled_workers(home, 2).read_text()) != identities, (
        "a new identity must be enrolled"
    )
