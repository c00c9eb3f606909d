"""A worker process shows its short-lived public key, signed with the identity key that its slot was enrolled with.

The bus checks who speaks on a worker's subject; the signature is for the day when the bus itself is hostile. A public key is
good for an hour at most, which bounds what its theft is worth: HPKE keeps no secrets once the recipient's key is known.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keyferry.contracts.key import WorkerRegistration
from keyferry.sealing.framing import frame, from_base64, to_base64
from keyferry.sealing.suite import DEFAULT_SUITE, UnknownSuite, known

_CONTEXT = "keyferry/worker-registration/v1"

MAX_VALID_MS = 3_600_000
MAX_SKEW_MS = 10_000
"""How far the clocks of a worker and the vault may be apart."""


class BadRegistration(ValueError):
    """A registration that is not accepted. The message says what to do."""


def sign(
    identity: Ed25519PrivateKey,
    *,
    worker_id: str,
    instance_id: str,
    public_key: bytes,
    not_after_unix_ms: int,
    suite: str = DEFAULT_SUITE,
) -> WorkerRegistration:
    """The registration of a process's public key (raw bytes) until a moment."""
    unsigned = WorkerRegistration(
        worker_id=worker_id,
        instance_id=instance_id,
        suite=suite,
        public_key=to_base64(public_key),
        not_after_unix_ms=not_after_unix_ms,
        signature="unsigned",
    )
    return unsigned.model_copy(update={"signature": to_base64(identity.sign(_signed(unsigned)))})


def verify(registration: WorkerRegistration, identity: Ed25519PublicKey, now_unix_ms: int) -> None:
    """Nothing when the enrolled identity signed it and it is good now, for an hour at most. Raises BadRegistration."""
    try:
        known(registration.suite)
        identity.verify(from_base64(registration.signature), _signed(registration))
    except UnknownSuite as error:
        raise BadRegistration(str(error)) from None
    except (InvalidSignature, ValueError):
        raise BadRegistration(
            f"the registration of {registration.worker_id} is not signed by the identity key it was enrolled with"
        ) from None
    left_ms = registration.not_after_unix_ms - now_unix_ms
    if left_ms <= 0:
        raise BadRegistration(
            f"the registration of {registration.worker_id} ended {-left_ms} ms ago: register again, and see that the"
            " clocks of worker and vault agree (NTP)"
        )
    if left_ms > MAX_VALID_MS + MAX_SKEW_MS:
        raise BadRegistration(
            f"the registration of {registration.worker_id} is for {left_ms} ms, and {MAX_VALID_MS} are allowed: see that"
            " the clocks of worker and vault agree (NTP)"
        )


def _signed(registration: WorkerRegistration) -> bytes:
    return frame(
        _CONTEXT,
        registration.suite,
        registration.worker_id,
        registration.instance_id,
        registration.public_key,
        registration.not_after_unix_ms,
    )
