"""Client tokens: what is sent, and where they are saved."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.embedded.smoke_test import is_active
from keyferry.cli.problem import Problem
from keyferry.cli.secret_file import secret_file
from keyferry.cli.token_output import describe_state
from keyferry.cli.tokens import build_registration
from keyferry.contracts import client_token
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken

_NOW = datetime(2026, 1, 31, tzinfo=UTC)
_TOKEN = ClientToken(token_id="tok_1", tenant="demo", label="x", last4="abcd", created_at=_NOW)


def test_only_the_digest_and_the_last_characters_are_sent() -> None:
    token = client_token.mint()
    sent = build_registration(token, "demo", "my program", ("echo",))
    assert sent.digest == client_token.digest(token.reveal())
    assert sent.last4 == token.reveal()[-4:]
    assert sent.allowed_models == ["echo"]
    assert token.reveal()[:-4] not in sent.encode().decode()
    assert build_registration(token, "demo", "my program").allowed_models is None


def test_states() -> None:
    assert describe_state(_TOKEN, _NOW) == "active"
    assert describe_state(_TOKEN.model_copy(update={"expires_at": _NOW}), _NOW) == "expired"
    assert describe_state(_TOKEN.model_copy(update={"expires_at": _NOW + timedelta(1)}), _NOW) == "active"
    assert describe_state(_TOKEN.model_copy(update={"revoked_at": _NOW}), _NOW) == "revoked"


def test_saved_token_is_known_while_it_is_active() -> None:
    kept = Secret("kf_live_abcd")
    assert is_active([_TOKEN], kept, _NOW)
    assert not is_active([], kept, _NOW)
    assert not is_active([_TOKEN.model_copy(update={"last4": "wxyz"})], kept, _NOW)
    assert not is_active([_TOKEN.model_copy(update={"revoked_at": _NOW})], kept, _NOW)


def test_secret_file_is_private_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "token"
    before = os.umask(0)
    try:
        with secret_file(path, Secret("hidden")):
            assert path.read_text() == "hidden\n"
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_unregistered_secret_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(ValueError, match="refused"), secret_file(path, Secret("hidden")):
        raise ValueError("refused")
    assert not path.exists()


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("precious")
    with pytest.raises(Problem, match="exists already"), secret_file(path, Secret("hidden")):
        raise AssertionError("the block must not run")
    assert path.read_text() == "precious"
    with pytest.raises(Problem, match="cannot write"), secret_file(tmp_path / "none" / "token", Secret("hidden")):
        raise AssertionError("the block must not run")
