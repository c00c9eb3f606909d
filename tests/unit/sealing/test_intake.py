"""A sealed key opens only for its tenant, provider, origin and vault."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.own_credentials import SEALED_PREFIX
from keyferry.contracts.secret import Secret
from keyferry.sealing import intake
from keyferry.sealing.framing import from_base64, to_base64
from keyferry.sealing.intake import IntakeOpener, InvalidSealedKey, seal_key
from keyferry.sealing.private_keys import fingerprint
from keyferry.sealing.suite import UnknownSuite

KEY = Secret("sk-proj-0123456789")
ADDRESS = ("acme", "openai", "https://api.openai.com")
FOREIGN = [
    ("other", "openai", "https://api.openai.com"),
    ("acme", "groq", "https://api.openai.com"),
    ("acme", "openai", "https://api.openai.com:8443"),
    ("acmeo", "penai", "https://api.openai.com"),
    ("", "", ""),
]


def test_vault_opens_a_sealed_key() -> None:
    opener = IntakeOpener(X25519PrivateKey.generate())
    assert opener.open(seal_key(opener.intake_key.public_key, *ADDRESS, KEY), *ADDRESS) == KEY


@pytest.mark.parametrize("address", FOREIGN)
def test_sealed_key_opens_for_nothing_else(address: tuple[str, str, str]) -> None:
    opener = IntakeOpener(X25519PrivateKey.generate())
    sealed = seal_key(opener.intake_key.public_key, *ADDRESS, KEY)
    with pytest.raises(InvalidSealedKey, match="another tenant, provider or address"):
        opener.open(sealed, *address)


def test_without_the_binding_it_opens_for_any_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "frame", lambda context, suite, *address: b"")
    opener = IntakeOpener(X25519PrivateKey.generate())
    sealed = seal_key(opener.intake_key.public_key, *ADDRESS, KEY)
    assert [opener.open(sealed, *address) for address in FOREIGN] == [KEY] * len(FOREIGN)


def test_other_vault_or_changed_byte_opens_nothing() -> None:
    opener = IntakeOpener(X25519PrivateKey.generate())
    sealed = seal_key(opener.intake_key.public_key, *ADDRESS, KEY)
    with pytest.raises(InvalidSealedKey):
        IntakeOpener(X25519PrivateKey.generate()).open(sealed, *ADDRESS)
    raw = from_base64(sealed.removeprefix(SEALED_PREFIX))
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(InvalidSealedKey):
            opener.open(SEALED_PREFIX + to_base64(changed), *ADDRESS)


@pytest.mark.parametrize(
    "sealed", ["", "AAAA", "sk-proj-0123456789", "nö", "A" * 4000, SEALED_PREFIX, f"{SEALED_PREFIX}ö"]
)
def test_unsealed_text_is_rejected_without_repeating_it(sealed: str) -> None:
    with pytest.raises(InvalidSealedKey) as refused:
        IntakeOpener(X25519PrivateKey.generate()).open(sealed, *ADDRESS)
    assert not sealed or sealed not in str(refused.value)


def test_fingerprint_covers_suite_and_key() -> None:
    given = IntakeOpener(X25519PrivateKey.generate()).intake_key
    assert given.fingerprint == fingerprint(given.suite, given.public_key)
    assert given.fingerprint != fingerprint("another", given.public_key)
    assert given.fingerprint != IntakeOpener(X25519PrivateKey.generate()).intake_key.fingerprint
    assert len(given.fingerprint) == 64


def test_unknown_suite_is_rejected() -> None:
    given = IntakeOpener(X25519PrivateKey.generate()).intake_key
    with pytest.raises(UnknownSuite):
        seal_key(given.public_key, *ADDRESS, KEY, suite="rot13")
