"""What the command line says of a key's form before it seals the key."""

from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.cli.connection import OperatorConnection
from keyferry.cli.key_sealing import PINNED_VARIABLE, fetch_intake_key, seal_for_origin
from keyferry.cli.problem import Problem
from keyferry.contracts.key import IntakeKey
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import to_base64
from keyferry.sealing.suite import DEFAULT_SUITE

PUBLIC = X25519PrivateKey.generate().public_key().public_bytes_raw()
INTAKE = IntakeKey(suite=DEFAULT_SUITE, public_key=to_base64(PUBLIC), fingerprint="f")
ORIGIN = "https://api.groq.com"


def test_unusual_form_is_reported_and_sealed(capsys: pytest.CaptureFixture[str]) -> None:
    assert seal_for_origin(INTAKE, "acme", "groq", ORIGIN, Secret("sk-0123456789abcdef"))
    assert "looks like a key of OpenAI or DeepSeek, not of Groq" in capsys.readouterr().err


def test_usual_form_is_sealed_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert seal_for_origin(INTAKE, "acme", "groq", ORIGIN, Secret("gsk_0123456789abcdef"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("token-pepper", "p3ppER-of-the-installation-0123456789abcdef", "p3ppER-of-the-installation-0123456789abcdef"),
        ("operator-token", "made by hand\n", "hand"),
        ("vault/keks", "k1 QmFzZTY0dXJsIG9mIGEga2V5IGVuY3J5cHRpb24\n", "QmFzZTY0dXJsIG9mIGEga2V5IGVuY3J5cHRpb24"),
        ("database/router.url", "postgresql://router:a-long-password-of-it@127.0.0.1/x", "a-long-password-of-it"),
    ],
)
def test_a_secret_of_the_installation_is_no_providers_key(
    name: str, content: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secrets" / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    monkeypatch.setenv("KEYFERRY_HOME", str(tmp_path))
    with pytest.raises(Problem, match="this is a secret of this installation") as refused:
        seal_for_origin(INTAKE, "acme", "custom", ORIGIN, Secret(key))
    assert key not in str(refused.value).replace(str(file), "")
    assert seal_for_origin(INTAKE, "acme", "custom", ORIGIN, Secret("another-key-0123456789"))


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(Problem, match="spaces"):
        seal_for_origin(INTAKE, "acme", "groq", ORIGIN, Secret("two words"))


@pytest.mark.parametrize("content", [b"\xff\x00", b"", b"abc"])
async def test_a_damaged_pin_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Vault:
        async def ask(self, *_: object) -> IntakeKey:
            return INTAKE

    file = tmp_path / "intake-key.pub"
    file.write_bytes(content)
    monkeypatch.setenv(PINNED_VARIABLE, str(file))
    with pytest.raises(Problem) as refused:
        await fetch_intake_key(cast(OperatorConnection, Vault()))
    assert str(file) in f"{refused.value} {refused.value.remedy}"
