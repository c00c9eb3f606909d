"""Sealing is HPKE as in RFC 9180: it interoperates with another implementation and passes the test vectors."""

import secrets

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey, OpenError

from keyferry.sealing import suite
from keyferry.sealing.suite import DEFAULT_SUITE, CannotOpen, UnknownSuite, seal, unseal

ROUNDS = 200
THEIRS = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
ENC_BYTES = 32

VECTORS = {
    "AES-128-GCM, appendix A.1.1": (
        Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM),
        "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
    ),
    "AES-256-GCM, the suite that is used": (
        suite._SUITES[DEFAULT_SUITE],
        "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
        "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
        "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
    ),
}
"""Base mode, sequence number 0: (suite, skRm, enc, ct). From the vectors that RFC 9180 appendix A points to."""
VECTOR_INFO = b"Ode on a Grecian Urn"
VECTOR_AAD = b"Count-0"
VECTOR_PLAINTEXT = b"Beauty is truth, truth beauty"


@pytest.mark.parametrize("name", VECTORS)
def test_rfc_vectors_open(name: str) -> None:
    # The vectors have additional data, which the public interface has no place for: the same code underneath takes it.
    chosen, private, enc, ciphertext = VECTORS[name]
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(private))
    sealed = bytes.fromhex(enc + ciphertext)
    opened = openssl.hpke._decrypt_with_aad(chosen, sealed, key, VECTOR_INFO, VECTOR_AAD)
    assert opened == VECTOR_PLAINTEXT


def test_another_implementation_opens_our_seals() -> None:
    for _ in range(ROUNDS):
        key, info, text = (
            X25519PrivateKey.generate(),
            secrets.token_bytes(40),
            secrets.token_bytes(secrets.randbelow(300)),
        )
        sealed = seal(DEFAULT_SUITE, key.public_key().public_bytes_raw(), info, text)
        theirs = KEMKey.from_pyca_cryptography_key(key)
        enc, ciphertext = sealed[:ENC_BYTES], sealed[ENC_BYTES:]
        assert THEIRS.create_recipient_context(enc, theirs, info).open(ciphertext) == text
        with pytest.raises(OpenError):
            THEIRS.create_recipient_context(enc, theirs, info + b"!").open(ciphertext)


def test_we_open_another_implementations_seals() -> None:
    for _ in range(ROUNDS):
        key, info, text = (
            X25519PrivateKey.generate(),
            secrets.token_bytes(40),
            secrets.token_bytes(secrets.randbelow(300)),
        )
        enc, sender = THEIRS.create_sender_context(KEMKey.from_pyca_cryptography_key(key.public_key()), info)
        ciphertext = sender.seal(text)
        assert unseal(DEFAULT_SUITE, key, info, enc + ciphertext) == text


def test_another_suite_does_not_interoperate() -> None:
    """The negative case: other suites do not interoperate."""
    key = X25519PrivateKey.generate()
    other = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305)
    enc, sender = other.create_sender_context(KEMKey.from_pyca_cryptography_key(key.public_key()), b"info")
    ciphertext = sender.seal(b"text")
    with pytest.raises(CannotOpen):
        unseal(DEFAULT_SUITE, key, b"info", enc + ciphertext)


@pytest.mark.parametrize("sealed", [b"", b"\0" * 31, b"\0" * 80, b"\xff" * 48])
def test_malformed_seal_says_only_that_it_does_not_open(sealed: bytes) -> None:
    with pytest.raises(CannotOpen):
        unseal(DEFAULT_SUITE, X25519PrivateKey.generate(), b"info", sealed)


def test_unknown_suite_is_named() -> None:
    with pytest.raises(UnknownSuite, match=r"'rot13'.*x25519-hkdf-sha256-aes-256-gcm"):
        seal("rot13", b"\1" * 32, b"", b"")
    with pytest.raises(UnknownSuite, match="rot13"):
        unseal("rot13", X25519PrivateKey.generate(), b"", b"")
