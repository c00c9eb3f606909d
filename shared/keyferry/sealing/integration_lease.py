"""Integration secrets on their way to the process that reads them: sealed to a key that it made for itself.

The seal is bound to the request's nonce, and to the owner, kind, id and version of the secret, so that one version cannot be
passed off as another, nor an old answer as a new one.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.integration_secrets import LeaseIntegrationSecret
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import frame, from_base64, to_base64
from keyferry.sealing.suite import CannotOpen, UnknownSuite, seal, unseal

_CONTEXT = "keyferry/integration-lease/v1"
NONCE_BYTES = 16


class InvalidSecretLease(ValueError):
    """An answer that does not open with the reader's key, or belongs to another request. The message may be shown."""


def seal_for_reader(request: LeaseIntegrationSecret, secret_id: str, version: int, secret: Secret) -> str:
    """Seal a version of a secret for the process that requests it, as base64url.

    Raises UnknownSuite, and ValueError for a malformed public key.
    """
    info = _info(request, secret_id, version)
    return to_base64(seal(request.suite, from_base64(request.public_key), info, secret.reveal().encode()))


def open_for_reader(
    private_key: X25519PrivateKey, request: LeaseIntegrationSecret, secret_id: str, version: int, sealed: str
) -> Secret:
    """Return what was sealed for this request. Raises InvalidSecretLease."""
    try:
        raw = unseal(request.suite, private_key, _info(request, secret_id, version), from_base64(sealed))
        return Secret(raw.decode())
    except (CannotOpen, UnknownSuite, ValueError):
        raise InvalidSecretLease(
            f"the vault's answer about {secret_id} does not open: it is for another request or process, or was changed"
        ) from None


def _info(request: LeaseIntegrationSecret, secret_id: str, version: int) -> bytes:
    return frame(
        _CONTEXT,
        request.suite,
        request.public_key,
        request.instance_id,
        request.nonce,
        request.tenant,
        request.kind.value,
        secret_id,
        version,
    )
