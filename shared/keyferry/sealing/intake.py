"""Provider keys and integration secrets on their way into the vault, sealed to its intake key by the client that adds them.

Tenant, provider and origin are bound into the seal, so nobody on the bus can add one tenant's sealed key as another's, or for an
address of their own.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.key import IntakeKey
from keyferry.contracts.own_credentials import SEALED_PREFIX
from keyferry.contracts.secret import Secret
from keyferry.sealing.framing import frame, from_base64, to_base64
from keyferry.sealing.private_keys import fingerprint, public_key_text
from keyferry.sealing.suite import DEFAULT_SUITE, CannotOpen, seal, unseal

_CONTEXT = "keyferry/intake/v1"
_INTEGRATION_CONTEXT = "keyferry/integration-intake/v1"


class InvalidSealedKey(ValueError):
    """A sealed key that the vault cannot open. The message may be shown."""


def seal_key(
    public_key: str, tenant: str, provider: str, origin: str, key: Secret, *, suite: str = DEFAULT_SUITE
) -> str:
    """Seal `key` to the intake key `public_key` (base64url), for this tenant, provider and origin only.

    Returns base64url after `kf_sealed_`, so that it is not taken for a key in clear text, nor a key for it. Raises UnknownSuite,
    and ValueError for a malformed `public_key`.
    """
    info = frame(_CONTEXT, suite, tenant, provider, origin)
    return SEALED_PREFIX + to_base64(seal(suite, from_base64(public_key), info, key.reveal().encode()))


def seal_integration_secret(
    public_key: str, tenant: str, kind: str, secret: Secret, *, suite: str = DEFAULT_SUITE
) -> str:
    """Seal an integration secret to the intake key, for this owner and kind only. Returns and raises as `seal_key` does."""
    info = frame(_INTEGRATION_CONTEXT, suite, tenant, kind)
    return SEALED_PREFIX + to_base64(seal(suite, from_base64(public_key), info, secret.reveal().encode()))


class IntakeOpener:
    """Opens sealed keys with the vault's private intake key."""

    def __init__(self, private_key: X25519PrivateKey, *, suite: str = DEFAULT_SUITE) -> None:
        self._private_key = private_key
        self._suite = suite
        public_key = public_key_text(private_key)
        self.intake_key = IntakeKey(suite=suite, public_key=public_key, fingerprint=fingerprint(suite, public_key))
        """The public half, for clients that add keys."""

    def open(self, sealed: str, tenant: str, provider: str, origin: str) -> Secret:
        """Return the key that was sealed for exactly this tenant, provider and origin. Raises InvalidSealedKey."""
        return self._open(sealed, frame(_CONTEXT, self._suite, tenant, provider, origin))

    def open_integration_secret(self, sealed: str, tenant: str, kind: str) -> Secret:
        """Return the secret that was sealed for exactly this owner and kind. Raises InvalidSealedKey."""
        return self._open(sealed, frame(_INTEGRATION_CONTEXT, self._suite, tenant, kind))

    def _open(self, sealed: str, info: bytes) -> Secret:
        try:
            if not sealed.startswith(SEALED_PREFIX):
                raise CannotOpen
            raw = from_base64(sealed.removeprefix(SEALED_PREFIX))
            return Secret(unseal(self._suite, self._private_key, info, raw).decode())
        except UnicodeDecodeError:
            raise InvalidSealedKey("the sealed key is not text") from None
        except (CannotOpen, ValueError):
            raise InvalidSealedKey(
                "the sealed key does not open: it was sealed to another intake key, or for another tenant, provider or address"
                " (for an integration: another tenant or kind); fetch the intake key again and seal the key again"
            ) from None
