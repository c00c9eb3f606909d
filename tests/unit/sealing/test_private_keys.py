"""Key files are parsed strictly, and errors do not repeat them."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.secret import Secret
from keyferry.sealing.private_keys import (
    BadKeyFile,
    opening_key,
    private_key_text,
    public_key_text,
    signing_key,
    verifying_key,
)


def test_key_file_round_trip() -> None:
    signer, opener = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    assert signing_key(private_key_text(signer)).private_bytes_raw() == signer.private_bytes_raw()
    assert opening_key(private_key_text(opener)).private_bytes_raw() == opener.private_bytes_raw()
    assert verifying_key(public_key_text(signer)).public_bytes_raw() == signer.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    "text", ["", "AAAA", "not a key", "A" * 44, "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"]
)
def test_malformed_key_is_rejected(text: str) -> None:
    with pytest.raises(BadKeyFile) as refused:
        signing_key(Secret(text))
    assert not text or text not in str(refused.value)
    with pytest.raises(BadKeyFile):
        opening_key(Secret(text))
    with pytest.raises(BadKeyFile):
        verifying_key(text)
