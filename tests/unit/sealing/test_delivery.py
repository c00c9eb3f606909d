"""A delivery opens only at its process, for its purpose, and as the vault signed it."""

import pickle
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.lease import SealedKey
from keyferry.contracts.secret import Secret
from keyferry.sealing import delivery
from keyferry.sealing.delivery import (
    MAX_LEASE_MS,
    InvalidDelivery,
    Purpose,
    Recipient,
    check_delivery,
    open_sealed,
    seal_to_worker,
)
from keyferry.sealing.framing import from_base64, to_base64
from keyferry.sealing.leased import LeasedKey, OriginMismatch
from keyferry.sealing.suite import seal
from tests.unit.sealing.deliveries import FACTS, KEY, NOW, ORIGIN, VAULT, Process, delivered, new_nonce

ATTEMPTS = 10_000
CHANCE = random.Random(1)
CHANGES: dict[str, Callable[[SealedKey], object]] = {
    "worker_id": lambda sealed: "provider-worker-2",
    "instance_id": lambda sealed: "inst_2",
    "suite": lambda sealed: "another",
    "tenant": lambda sealed: "other",
    "owner": lambda sealed: "platform",
    "provider": lambda sealed: "groq",
    "key_id": lambda sealed: "key_0002",
    "version": lambda sealed: sealed.version + 1,
    "origin": lambda sealed: "https://evil.example",
    "nonce": lambda sealed: new_nonce(),
    "not_after_unix_ms": lambda sealed: sealed.not_after_unix_ms + 1,
    "sealed": lambda sealed: flipped(sealed.sealed),
    "signature": lambda sealed: flipped(sealed.signature),
}


def flipped(text: str) -> str:
    raw = bytearray(from_base64(text))
    raw[CHANCE.randrange(len(raw))] ^= 1 << CHANCE.randrange(8)
    return to_base64(bytes(raw))


def changed(sealed: SealedKey, name: str) -> SealedKey:
    return sealed.model_copy(update={name: CHANGES[name](sealed)})


def test_requesting_worker_opens_the_key() -> None:
    process = Process()
    asked = process.asks()
    sealed = delivered(process, asked)
    check_delivery(sealed, asked)
    leased = open_sealed(sealed, process.recipient, Purpose.LEASE)
    assert leased.for_origin(ORIGIN) == KEY
    assert (leased.key_id, leased.version, leased.owner) == (FACTS.key_id, FACTS.version, FACTS.tenant)
    assert (leased.provider, leased.not_after_unix_ms) == (FACTS.provider, sealed.not_after_unix_ms)


def test_every_field_of_a_delivery_is_covered() -> None:
    assert set(CHANGES) == set(SealedKey.model_fields)


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_any_field_is_detected(name: str) -> None:
    process = Process()
    sealed = changed(delivered(process, process.asks()), name)
    with pytest.raises(InvalidDelivery):
        open_sealed(sealed, process.recipient, Purpose.LEASE)


BOUND = ("tenant", "owner", "provider", "key_id", "version", "origin", "nonce", "not_after_unix_ms")


@pytest.mark.parametrize("name", BOUND)
def test_the_signature_alone_covers_each_field(name: str) -> None:
    process = Process()
    with pytest.raises(InvalidDelivery, match="not signed by the vault"):
        open_sealed(changed(delivered(process, process.asks()), name), process.recipient, Purpose.LEASE)


@pytest.mark.parametrize("name", BOUND)
def test_the_seal_alone_covers_each_field(name: str) -> None:
    """Signed anew by the vault itself, content that was sealed for another field's value does not open."""
    process = Process()
    other = changed(delivered(process, process.asks()), name)
    signature = VAULT.sign(delivery._signed_bytes(other, Purpose.LEASE))
    with pytest.raises(InvalidDelivery, match="does not open"):
        open_sealed(other.model_copy(update={"signature": to_base64(signature)}), process.recipient, Purpose.LEASE)


def test_the_seal_alone_covers_the_purpose() -> None:
    process = Process()
    sealed = delivered(process, process.asks(), purpose=Purpose.KEY_TEST)
    signature = to_base64(VAULT.sign(delivery._signed_bytes(sealed, Purpose.LEASE)))
    with pytest.raises(InvalidDelivery, match="does not open"):
        open_sealed(sealed.model_copy(update={"signature": signature}), process.recipient, Purpose.LEASE)


def test_a_delivery_to_another_process_or_of_another_suite_says_so() -> None:
    process = Process()
    sealed = delivered(process, process.asks())
    for name in ("worker_id", "instance_id"):
        with pytest.raises(InvalidDelivery, match="the key was sealed to another worker process"):
            open_sealed(changed(sealed, name), process.recipient, Purpose.LEASE)
    with pytest.raises(InvalidDelivery, match="suite"):
        open_sealed(changed(sealed, "suite"), process.recipient, Purpose.LEASE)


def test_ten_thousand_foreign_or_changed_deliveries_are_rejected() -> None:
    opened, sealed, others = 0, [], [Process("provider-worker-2"), Process(instance_id="inst_2"), Process()]
    process = Process()
    for _ in range(20):
        sealed.append(delivered(process, process.asks()))
    for number in range(ATTEMPTS):
        one = sealed[number % len(sealed)]
        recipient = process.recipient
        match number % 3:
            case 0:
                recipient = others[number % len(others)].recipient
            case 1:
                one = changed(one, CHANCE.choice(sorted(CHANGES)))
            case 2:  # believed to be of this process, in another's hands
                recipient = Recipient(
                    recipient.worker_id,
                    recipient.instance_id,
                    others[number % 3].recipient.private_keys,
                    recipient.vault,
                )
        opened += opens(one, recipient)
    assert opened == 0
    assert all(opens(one, process.recipient) for one in sealed), "the same deliveries, unchanged and at home"


def opens(sealed: SealedKey, recipient: Recipient) -> bool:
    try:
        open_sealed(sealed, recipient, Purpose.LEASE)
    except InvalidDelivery:
        return False
    return True


@pytest.mark.parametrize("name", ["tenant", "owner", "origin", "nonce", "version"])
def test_without_binding_and_signature_the_changes_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_parts", lambda sealed: ())
    process = Process()
    assert opens(changed(delivered(process, process.asks()), name), process.recipient)


def test_delivery_not_signed_by_the_vault_is_rejected() -> None:
    """Anyone on the bus can seal to a worker's public key, but an attacker's key must not be accepted."""
    process = Process()
    forged = delivered(process, process.asks(), signer=Ed25519PrivateKey.generate())
    with pytest.raises(InvalidDelivery, match="not signed by the vault"):
        open_sealed(forged, process.recipient, Purpose.LEASE)


def test_content_sealed_anew_under_a_genuine_signature_is_rejected() -> None:
    """Sealing needs no secret, so the bus could put its own key in a genuine message: the signature covers the content."""
    process = Process()
    genuine = delivered(process, process.asks())
    public_key = from_base64(process.registration.public_key)
    content = seal(genuine.suite, public_key, delivery._info(genuine, Purpose.LEASE), b"sk-attacker-0123456789")
    with pytest.raises(InvalidDelivery, match="not signed by the vault"):
        open_sealed(genuine.model_copy(update={"sealed": to_base64(content)}), process.recipient, Purpose.LEASE)


def test_delivery_is_bound_to_its_purpose() -> None:
    process = Process()
    for made, used in ((Purpose.KEY_TEST, Purpose.LEASE), (Purpose.LEASE, Purpose.KEY_TEST)):
        sealed = delivered(process, process.asks(), purpose=made)
        with pytest.raises(InvalidDelivery):
            open_sealed(sealed, process.recipient, used)
        open_sealed(sealed, process.recipient, made)


@pytest.mark.parametrize("name", ["instance_id", "tenant", "owner", "provider", "key_id", "origin", "nonce"])
def test_delivery_for_another_request_is_rejected(name: str) -> None:
    process = Process()
    asked = process.asks()
    with pytest.raises(InvalidDelivery, match=name):
        check_delivery(delivered(process, asked), asked.model_copy(update={name: "other"}))


@pytest.mark.parametrize("valid_ms", [-1, 0, MAX_LEASE_MS + 1])
def test_expired_or_too_long_lease_is_rejected(valid_ms: int) -> None:
    process = Process()
    asked = process.asks()
    sealed = seal_to_worker(
        KEY,
        VAULT,
        process.registration,
        FACTS,
        purpose=Purpose.LEASE,
        tenant=asked.tenant,
        nonce=asked.nonce,
        not_after_unix_ms=NOW + valid_ms,
    )
    with pytest.raises(InvalidDelivery, match="lease"):
        check_delivery(sealed, asked)


@pytest.mark.parametrize("valid_ms", [1, MAX_LEASE_MS])
def test_a_lease_may_last_from_a_moment_to_the_longest(valid_ms: int) -> None:
    process = Process()
    asked = process.asks()
    sealed = delivered(process, asked).model_copy(update={"not_after_unix_ms": asked.sent_at_unix_ms + valid_ms})
    check_delivery(sealed, asked)


def test_former_private_key_still_opens_while_kept() -> None:
    process = Process()
    sealed = delivered(process, process.asks())
    fresh = X25519PrivateKey.generate()
    kept = Recipient("provider-worker-1", "inst_1", (fresh, process.private_key), VAULT.public_key())
    assert open_sealed(sealed, kept, Purpose.LEASE).for_origin(ORIGIN) == KEY
    gone = Recipient("provider-worker-1", "inst_1", (fresh,), VAULT.public_key())
    with pytest.raises(InvalidDelivery, match="no longer has"):
        open_sealed(sealed, gone, Purpose.LEASE)


# --- the key in a worker's hands


def leased() -> LeasedKey:
    return LeasedKey(
        owner="acme",
        provider="openai",
        key_id="key_0001",
        version=1,
        origin=ORIGIN,
        not_after_unix_ms=NOW,
        key=Secret("sk-canary-0123456789"),
    )


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "http://api.openai.com",
        "https://api.openai.com:8443",
        "https://api.openai.com.evil.example",
        "https://API.openai.com",
        "https://api.openai.com/",
    ],
)
def test_key_is_released_for_its_own_origin_only(origin: str) -> None:
    with pytest.raises(OriginMismatch, match="belongs to https://api") as refused:
        leased().for_origin(origin)
    assert "canary" not in str(refused.value)


def test_leased_key_cannot_be_printed_or_pickled() -> None:
    key = leased()
    assert "canary" not in f"{key!r} {key} {[key]}"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert not hasattr(key, "__dict__")
