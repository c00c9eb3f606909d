"""A worker's public key is valid for an hour if its slot's enrolled identity signed it."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.lease import WorkerRegistration
from keyferry.sealing.framing import from_base64, to_base64
from keyferry.sealing.registration import MAX_SKEW_MS, MAX_VALID_MS, BadRegistration, sign, verify

NOW = 1_900_000_000_000
IDENTITY = Ed25519PrivateKey.generate()
PUBLIC_KEY = X25519PrivateKey.generate().public_key().public_bytes_raw()


def registration(
    not_after_unix_ms: int = NOW + MAX_VALID_MS, identity: Ed25519PrivateKey = IDENTITY
) -> WorkerRegistration:
    return sign(
        identity,
        worker_id="provider-worker-1",
        instance_id="inst_1",
        public_key=PUBLIC_KEY,
        not_after_unix_ms=not_after_unix_ms,
    )


def verified(changed: WorkerRegistration) -> None:
    verify(changed, IDENTITY.public_key(), NOW)


def test_registration_signed_by_the_enrolled_identity_is_valid() -> None:
    verified(registration())
    verified(registration(NOW + 1))
    verified(registration(NOW + MAX_VALID_MS + MAX_SKEW_MS))


@pytest.mark.parametrize(
    "change",
    [
        {"worker_id": "provider-worker-2"},
        {"instance_id": "inst_2"},
        {"public_key": to_base64(X25519PrivateKey.generate().public_key().public_bytes_raw())},
        {"not_after_unix_ms": NOW + 1000},
        {"suite": "another"},
        {"worker_id": "provider-worker-1inst_1", "instance_id": ""},
    ],
)
def test_any_change_breaks_the_signature(change: dict[str, object]) -> None:
    with pytest.raises(BadRegistration):
        verified(registration().model_copy(update=change))


def test_another_identity_is_rejected() -> None:
    with pytest.raises(BadRegistration, match="not signed by the identity key it was enrolled with"):
        verified(registration(identity=Ed25519PrivateKey.generate()))


def test_no_flipped_bit_of_a_signature_passes() -> None:
    good = registration()
    raw = from_base64(good.signature)
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(BadRegistration):
            verified(good.model_copy(update={"signature": to_base64(changed)}))


def test_clock_skew_is_named() -> None:
    with pytest.raises(BadRegistration, match=r"ended 5000 ms ago.*clocks .* agree"):
        verified(registration(NOW - 5000))
    with pytest.raises(BadRegistration, match=r"3610001 ms, and 3600000 are allowed.*clocks"):
        verified(registration(NOW + MAX_VALID_MS + MAX_SKEW_MS + 1))


def test_signature_over_other_bytes_is_no_registration() -> None:
    """Making the identity key sign other bytes, such as a server's nonce, yields no registration."""
    good = registration()
    for other in (
        b"",
        b"a nonce",
        good.encode(),
        "".join((good.worker_id, good.instance_id, good.public_key)).encode(),
    ):
        with pytest.raises(BadRegistration):
            verified(good.model_copy(update={"signature": to_base64(IDENTITY.sign(other))}))


def test_a_registration_of_an_unknown_suite_names_it() -> None:
    newer = registration().model_copy(update={"suite": "rot13"})
    with pytest.raises(BadRegistration, match="does not know the sealing suite 'rot13'"):
        verify(newer, IDENTITY.public_key(), NOW)
