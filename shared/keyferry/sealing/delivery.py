"""Provider keys on their way to a worker: sealed to the one process that registered, and signed by the vault.

The seal gives confidentiality, the signature authenticity: without it, anyone on the bus could send a worker a key of their own
and read tenants' requests in their own provider account. The seal's info and the signature cover every field of the message and
its purpose: a key delivered for an attempt is not valid for a test.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.lease import LeaseKey, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import frame, from_base64, to_base64
from keyferry.sealing.leased import LeasedKey
from keyferry.sealing.suite import CannotOpen, UnknownSuite, check_suite, seal, unseal

NONCE_BYTES = 16
MAX_LEASE_MS = 300_000


class Purpose(StrEnum):
    """What a key is delivered for; bound into the seal and the signature."""

    LEASE = "keyferry/lease/v1"
    KEY_TEST = "keyferry/key-test/v1"

    @property
    def signature_context(self) -> str:
        """The start of the signed bytes, which no seal's info shares."""
        return f"{self.value}/signature"


class InvalidDelivery(ValueError):
    """A sealed key that is rejected: forged, changed, or for another process or purpose. The message may be shown."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A worker process that receives keys: its identity, its current private keys, and the vault's public key."""

    worker_id: str
    instance_id: str
    private_keys: tuple[X25519PrivateKey, ...]
    """The newest first."""
    vault: Ed25519PublicKey


def seal_to_worker(
    key: Secret,
    signer: Ed25519PrivateKey,
    worker: WorkerRegistration,
    facts: KeyFacts,
    *,
    purpose: Purpose,
    tenant: str,
    nonce: str,
    not_after_unix_ms: int,
) -> SealedKey:
    """Seal and sign `key` for a request of `tenant`, to a worker whose registration was verified.

    Raises UnknownSuite, and ValueError for a malformed public key.
    """
    unsealed = SealedKey(
        worker_id=worker.worker_id,
        instance_id=worker.instance_id,
        suite=worker.suite,
        tenant=tenant,
        owner=facts.tenant,
        provider=facts.provider,
        key_id=facts.key_id,
        version=facts.version,
        origin=facts.origin,
        nonce=nonce,
        not_after_unix_ms=not_after_unix_ms,
        sealed="unsealed",
        signature="unsigned",
    )
    sealed = seal(worker.suite, from_base64(worker.public_key), _info(unsealed, purpose), key.reveal().encode())
    unsigned = unsealed.model_copy(update={"sealed": to_base64(sealed)})
    return unsigned.model_copy(update={"signature": to_base64(signer.sign(_signed_bytes(unsigned, purpose)))})


def open_sealed(sealed: SealedKey, recipient: Recipient, purpose: Purpose) -> LeasedKey:
    """Open a key that the vault sealed for this process and purpose. Raises InvalidDelivery.

    The caller checks that it was requested (`check_delivery`), and accepts it only once.
    """
    if (sealed.worker_id, sealed.instance_id) != (recipient.worker_id, recipient.instance_id):
        raise InvalidDelivery("the key was sealed to another worker process")
    try:
        check_suite(sealed.suite)
        recipient.vault.verify(from_base64(sealed.signature), _signed_bytes(sealed, purpose))
    except UnknownSuite as error:
        raise InvalidDelivery(str(error)) from None
    except (InvalidSignature, ValueError):
        raise InvalidDelivery("the delivered key is not signed by the vault that this worker trusts") from None
    return LeasedKey(
        owner=sealed.owner,
        provider=sealed.provider,
        key_id=sealed.key_id,
        version=sealed.version,
        origin=sealed.origin,
        not_after_unix_ms=sealed.not_after_unix_ms,
        key=_open(sealed, recipient.private_keys, purpose),
    )


def check_delivery(sealed: SealedKey, request: LeaseKey) -> None:
    """Check that `sealed` matches its request and no lease is longer than allowed. Raises InvalidDelivery."""
    for name in ("instance_id", "tenant", "owner", "provider", "key_id", "origin", "nonce"):
        if getattr(sealed, name) != getattr(request, name):
            raise InvalidDelivery(f"the delivered key does not match the request: its {name} differs")
    if not request.sent_at_unix_ms < sealed.not_after_unix_ms <= request.sent_at_unix_ms + MAX_LEASE_MS:
        raise InvalidDelivery("the delivered key's lease is over, or longer than a lease may be")


def _open(sealed: SealedKey, private_keys: Iterable[X25519PrivateKey], purpose: Purpose) -> Secret:
    info = _info(sealed, purpose)
    for private_key in private_keys:
        try:
            return Secret(unseal(sealed.suite, private_key, info, from_base64(sealed.sealed)).decode())
        except (CannotOpen, ValueError):
            continue
    raise InvalidDelivery(
        "the delivered key does not open: it was sealed to a public key that this process no longer has"
    )


def _parts(sealed: SealedKey) -> tuple[str | int, ...]:
    return (
        sealed.suite,
        sealed.worker_id,
        sealed.instance_id,
        sealed.tenant,
        sealed.owner,
        sealed.provider,
        sealed.key_id,
        sealed.version,
        sealed.origin,
        sealed.nonce,
        sealed.not_after_unix_ms,
    )


def _info(sealed: SealedKey, purpose: Purpose) -> bytes:
    return frame(purpose.value, *_parts(sealed))


def _signed_bytes(sealed: SealedKey, purpose: Purpose) -> bytes:
    return frame(purpose.signature_context, *_parts(sealed), sealed.sealed)
