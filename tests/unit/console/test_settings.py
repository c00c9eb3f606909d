"""The console's settings, and which ones prevent its start."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.runtime.process.settings import SettingsError, load
from keyferry.sealing.private_keys import public_key_text
from services.console.settings import ConsoleSettings


def settings(folder: Path, token: str = "t" * 32, pinned: str | None = None) -> ConsoleSettings:
    (folder / "token").write_text(f"{token}\n")
    (folder / "pinned").write_text(public_key_text(X25519PrivateKey.generate()) if pinned is None else pinned)
    return ConsoleSettings(
        nats_url="nats://127.0.0.1:9", operator_token_file=folder / "token", intake_public_key_file=folder / "pinned"
    )


def test_valid_settings_are_read(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found.operator_token().reveal() == "t" * 32
    assert len(found.intake_public_key()) == 43
    assert (found.http_host, found.http_port) == ("127.0.0.1", 8401)


def test_short_operator_token_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="shorter than 32 characters") as refused:
        settings(tmp_path, token="hunter2").operator_token()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("pinned", ["AAAA", "not base64 !", "A" * 44])
def test_malformed_intake_key_is_rejected(tmp_path: Path, pinned: str) -> None:
    with pytest.raises(SettingsError, match="no public key of 32 bytes"):
        settings(tmp_path, pinned=pinned).intake_public_key()


def test_missing_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEYFERRY_OPERATOR_TOKEN_FILE", "KEYFERRY_INTAKE_PUBLIC_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=r"KEYFERRY_OPERATOR_TOKEN_FILE.*KEYFERRY_INTAKE_PUBLIC_KEY_FILE"):
        load(ConsoleSettings)


@pytest.mark.parametrize(
    ("host", "public_url", "accepted"),
    [
        ("127.0.0.1", None, True),
        ("0.0.0.0", None, True),
        ("10.1.2.3", None, False),
        ("console.internal", None, False),
        ("10.1.2.3", "https://keyferry.example.com", True),
        ("10.1.2.3", "http://keyferry.example.com", False),
    ],
)
def test_sessions_do_not_travel_over_a_network_in_plain_http(
    tmp_path: Path, host: str, public_url: str | None, accepted: bool
) -> None:
    key = tmp_path / "session-key"
    key.write_text("a-session-key-for-tests-0123456789abcdef")
    issuer = {"oidc_issuer": "https://id.example.com", "session_key_file": key}
    found = settings(tmp_path).model_copy(update={"http_host": host, "public_url": public_url, **issuer})
    if accepted:
        found.check_files()
        return
    with pytest.raises(SettingsError, match="KEYFERRY_PUBLIC_URL"):
        found.check_files()
