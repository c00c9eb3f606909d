"""What the command line says of a key's form before it seals the key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.cli.key_sealing import seal_for_origin
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


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(Problem, match="spaces"):
        seal_for_origin(INTAKE, "acme", "groq", ORIGIN, Secret("two words"))
