"""The interface to what holds the KEKs: a keyring file, AWS KMS, or Vault's transit engine.

A KEK never meets a provider key: it only encrypts the tenants' data keys. An encrypted data key names its KEK provider and
KEK, so that a rotation knows what is left and a missing KEK can be named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from keyferry.sealing.framing import frame
from services.key_vault.encryption.record_cipher import Undecryptable

_VERSION = b"\x01"
_LABEL = "keyferry/data-key/v1"

Context = Mapping[str, str]
"""What a data key is bound to: deployment, tenant and its id. Not secret: AWS writes it to CloudTrail."""


class KekMissing(Undecryptable):
    """The KEK that encrypted a data key is missing. `name` is its name."""

    def __init__(self, name: str, advice: str) -> None:
        super().__init__(f"the KEK {name!r} is missing: {advice}")
        self.name = name


class KekUnavailable(Exception):
    """The KEK provider does not respond, or denies access; nothing is known about the data key."""


class CannotRenew(Exception):
    """The KEK provider creates no new KEK for the vault; the message says why."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """How a new primary KEK can be created."""

    obstacle: str | None = None
    """Why the vault cannot have one created; null where no reason is known."""
    provider_rotation_days: int | None = None
    """How often the KEK provider itself rotates the key behind the name; null where it does not, or it is unknown."""


@dataclass(frozen=True, slots=True)
class KekDescription:
    """The KEK provider, the KEK that encrypts new data keys, and the KEKs that can decrypt."""

    provider: str
    primary: str
    names: tuple[str, ...]


class KekProvider(Protocol):
    """Encrypts and decrypts data keys (32 bytes) under the same `context`.

    Every method that is awaited raises KekUnavailable; those that take a blob raise Undecryptable (KekMissing is one).
    """

    async def refresh(self) -> None:
        """Load what changed about the KEKs: a new primary, a new version."""

    async def encrypt(self, data_key: bytes, context: Context) -> bytes:
        """Encrypt a data key under the primary KEK."""

    async def decrypt(self, blob: bytes, context: Context) -> bytes:
        """Return the data key in a blob."""

    async def re_encrypt(self, blob: bytes, context: Context) -> bytes:
        """Return the same data key encrypted under the primary KEK."""

    async def check_renewal(self) -> Renewal:
        """Return whether `renew` can create a KEK."""

    async def renew(self, now: datetime) -> None:
        """Create a new primary KEK and load it; the former ones still decrypt. Raises CannotRenew.

        The new KEK is durable before this returns, so that nothing is ever encrypted under a KEK that gets lost.
        """

    def describe(self) -> KekDescription:
        """Return the KEKs' names as of the last refresh; no secrets."""

    def name_of(self, blob: bytes) -> str:
        """Return the KEK that encrypted a blob, as named by `describe`. Raises Undecryptable for a malformed blob."""


@dataclass(frozen=True, slots=True)
class EncryptedDataKey:
    """An encrypted data key as it is stored: KEK provider, KEK, and the ciphertext."""

    provider: str
    kek: str
    ciphertext: bytes

    def encode(self) -> bytes:
        """Return the bytes to store."""
        return _VERSION + frame(self.provider, self.kek, self.ciphertext)

    @classmethod
    def decode(cls, blob: bytes, provider: str) -> "EncryptedDataKey":
        """Parse a stored blob. Raises Undecryptable when it is malformed or of another KEK provider than `provider`."""
        provider_name, kek, ciphertext = _parts(blob)
        found = cls(provider_name.decode(errors="replace"), kek.decode(errors="replace"), ciphertext)
        if found.provider != provider:
            raise KekMissing(found.kek, f"it is held by {found.provider!r}, and the vault is set to use {provider!r}")
        return found


def context_bytes(context: Context) -> bytes:
    """Return a context as additional data: the same bytes for equal mappings, different bytes for any others."""
    return frame(_LABEL, *(part for name in sorted(context) for part in (name, context[name])))


def _parts(blob: bytes) -> tuple[bytes, bytes, bytes]:
    if blob[:1] != _VERSION:
        raise Undecryptable("an encrypted data key is cut off, or of a format that this build does not know")
    rest, parts = blob[1:], []
    while len(rest) >= 4:
        length = int.from_bytes(rest[:4], "big")
        parts.append(rest[4 : 4 + length])
        rest = rest[4 + length :] if len(rest) >= 4 + length else b"?"
    if rest or len(parts) != 3:
        raise Undecryptable("an encrypted data key is cut off or was changed")
    return parts[0], parts[1], parts[2]
