"""Secrets are made once and then stay; a public half always fits its private one."""

import json
import stat
from pathlib import Path

import pytest

from deploy.embedded import secret_files
from deploy.embedded.home import Home
from keyferry.contracts.secret import Secret
from keyferry.sealing.private_keys import opening_key, public_text_of, signing_key


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def fits(home: Home) -> bool:
    intake = opening_key(Secret(secret_files.intake_key(home).read_text()))
    signer = signing_key(Secret(secret_files.signing_key(home).read_text()))
    return (
        public_text_of(intake) == secret_files.intake_public_key(home).read_text()
        and public_text_of(signer) == secret_files.vault_public_key(home).read_text()
    )


def test_secrets_stay_and_are_their_owners_alone(home: Home) -> None:
    makers = (
        secret_files.token_pepper, secret_files.keks, secret_files.intake_key, secret_files.signing_key,
        secret_files.fingerprint_key, secret_files.deployment_id, secret_files.identity_key,
        secret_files.operator_token, secret_files.audit_key,
    )  # fmt: skip
    made = {path: path.read_text() for maker in makers for path in [maker(home, 1)]}
    assert len(made) == len(makers)
    assert {path: path.read_text() for maker in makers for path in [maker(home, 1)]} == made
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in made)
    assert fits(home)


@pytest.mark.parametrize("lost", ["intake-key", "signing-key", "intake-key.pub", "signing-key.pub"])
def test_a_key_that_was_lost_comes_back_as_a_pair_that_fits(home: Home, lost: str) -> None:
    assert fits(home)
    (home.secrets / "vault" / lost).unlink()
    assert fits(home)


def test_the_enrolled_workers_are_the_slots_identities(home: Home) -> None:
    enrolled = json.loads(secret_files.enrolled_workers(home, 2).read_text())
    identities = {
        f"provider-worker-{slot}": public_text_of(
            signing_key(Secret(secret_files.identity_key(home, slot).read_text()))
        )
        for slot in (1, 2)
    }
    assert enrolled == identities
    secret_files.identity_key(home, 1).unlink()
    assert json.loads(secret_files.enrolled_workers(home, 2).read_text()) != identities, "a new identity is enrolled"
