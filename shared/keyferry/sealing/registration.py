"""Registration of a worker process: its short-lived public key, signed with its slot's enrolled identity key.

The bus restricts who may publish on a worker's subject; the signature protects against a hostile bus. A public key is valid for
an hour at most, which limits the damage of a stolen private key: HPKE has no forward secrecy for the recipient's key.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keyferry.contracts.lease import WorkerRegistration
from keyferry.sealing.framing import frame, from_base64, to_base64
from keyferry.sealing.suite import DEFAULT_SUITE, UnknownSuite, check_suite

_CONTEXT = "keyferry/worker-registration/v1"

MAX_VALID_MS = 3_600_000
MAX_SKEW_MS = 10_000
"""Allowed clock difference between a worker and the vault."""


class BadRegistration(ValueError):
    """A registration that is not valid. The message says what to do."""


def sign(
    identity: Ed25519PrivateKey,
    *,
    worker_id: str,
    instance_id: str,
    public_key: bytes,
    not_after_unix_ms: int,
    suite: str = DEFAULT_SUITE,
) -> WorkerRegistration:
    """Sign the registration of a process's public key (raw bytes) until `not_after_unix_ms`."""
    unsigned = WorkerRegistration(
        worker_id=worker_id,
        instance_id=instance_id,
        suite=suite,
        public_key=to_base64(public_key),
        not_after_unix_ms=not_after_unix_ms,
        signature="unsigned",
    )
    return unsigned.model_copy(update={"signature": to_base64(identity.sign(_signed_bytes(unsigned)))})


def verify(registration: WorkerRegistration, identity: Ed25519PublicKey, now_unix_ms: int) -> None:
    """Check that the enrolled identity signed it and that it is valid now, for an hour at most. Raises BadRegistration."""
    try:
        check_suite(registration.suite)
        identity.verify(from_base64(registration.signature), _signed_bytes(registration))
    except UnknownSuite as error:
        raise BadRegistration(str(error)) from None
    except (InvalidSignature, ValueError):
        raise BadRegistration(
            f"the registration of {registration.worker_id} is not signed by the identity key it was enrolled with"
        ) from None
    left_ms = registration.not_after_unix_ms - now_unix_ms
    if left_ms <= 0:
        raise BadRegistration(
            f"the registration of {registration.worker_id} ended {-left_ms} ms ago: register again, and check that the"
            " clocks of worker and vault agree (NTP)"
        )
    if left_ms > MAX_VALID_MS + MAX_SKEW_MS:
        raise BadRegistration(
            f"the registration of {registration.worker_id} is for {left_ms} ms, and {MAX_VALID_MS} are allowed: check that"
            " the clocks of worker and vault agree (NTP)"
        )


def _signed_bytes(registration: WorkerRegistration) -> bytes:
    return frame(
        _CONTEXT,
        registration.suite,
        registration.worker_id,
        registration.instance_id,
        registration.public_key,
        registration.not_after_unix_ms,
    )
