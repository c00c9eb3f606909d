"""What the vault asks of whatever holds its KEKs: a file, AWS KMS, or Vault's transit engine.

A KEK never meets a provider key: it only wraps the tenants' data keys. A wrapped data key names who wrapped it and
under which KEK, so that a rotation knows what is left and a missing KEK can be named.
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
"""What a data key is bound to: deployment, tenant and its id. Not secret; AWS writes it into its own audit log."""


class KekMissing(Undecryptable):
    """The KEK that wrapped a data key is not there. `name` is what it is called."""

    def __init__(self, name: str, advice: str) -> None:
        super().__init__(f"the KEK {name!r} is missing: {advice}")
        self.name = name


class KekUnavailable(Exception):
    """Whoever holds the KEKs does not answer, or does not let us; nothing is known about the data key."""


class CannotRenew(Exception):
    """Whoever holds the KEKs makes no new one for the vault; the message says why, in words for the operator."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """How a new primary KEK comes about."""

    obstacle: str | None = None
    """Why the vault cannot have one made; null where nothing is known to be in the way."""
    own_days: int | None = None
    """Every how many days the holder itself changes the key behind the name; null where it does not, or it is not known."""


@dataclass(frozen=True, slots=True)
class KekDescription:
    """Who holds the KEKs, which one wraps new data keys, and which ones can unwrap."""

    provider: str
    primary: str
    names: tuple[str, ...]


class KekProvider(Protocol):
    """Wraps and unwraps data keys (32 bytes). `context` has to be the same both times.

    Every method that is awaited raises KekUnavailable; those that take a blob raise Undecryptable, of which
    KekMissing is one.
    """

    async def refresh(self) -> None:
        """Take up what has changed about the KEKs: a new primary one, a new version."""

    async def wrap(self, data_key: bytes, context: Context) -> bytes:
        """The data key, wrapped under the primary KEK."""

    async def unwrap(self, blob: bytes, context: Context) -> bytes:
        """The data key in a blob."""

    async def re_encrypt(self, blob: bytes, context: Context) -> bytes:
        """The same data key, wrapped under the primary KEK."""

    async def renewal(self) -> Renewal:
        """Whether `renew` can do anything."""

    async def renew(self, now: datetime) -> None:
        """Make a new primary KEK, and take it up. The former ones still unwrap. Raises CannotRenew.

        What it made is there for good before this returns, so that nothing is ever wrapped by a KEK that gets lost.
        """

    def describe(self) -> KekDescription:
        """What is known of the KEKs as of the last refresh; no secrets."""

    def name_of(self, blob: bytes) -> str:
        """The KEK that wrapped a blob, spelled as in `describe`. Raises Undecryptable for what is no blob."""


@dataclass(frozen=True, slots=True)
class EncryptedDataKey:
    """A wrapped data key as it is stored: who wrapped it, under which KEK, and the ciphertext."""

    provider: str
    kek: str
    ciphertext: bytes

    def encode(self) -> bytes:
        """The bytes to store."""
        return _VERSION + frame(self.provider, self.kek, self.ciphertext)

    @classmethod
    def decode(cls, blob: bytes, provider: str) -> "EncryptedDataKey":
        """A stored blob. Raises Undecryptable when it is none, or not one of `provider`."""
        provider_name, kek, ciphertext = _parts(blob)
        found = cls(provider_name.decode(errors="replace"), kek.decode(errors="replace"), ciphertext)
        if found.provider != provider:
            raise KekMissing(found.kek, f"it is held by {found.provider!r}, and the vault is set to use {provider!r}")
        return found


def context_bytes(context: Context) -> bytes:
    """A context as additional data: the same mapping gives the same bytes, two mappings never do."""
    return frame(_LABEL, *(part for name in sorted(context) for part in (name, context[name])))


def _parts(blob: bytes) -> tuple[bytes, bytes, bytes]:
    if blob[:1] != _VERSION:
        raise Undecryptable("a wrapped data key is cut off, or of a format that this build does not know")
    rest, parts = blob[1:], []
    while len(rest) >= 4:
        length = int.from_bytes(rest[:4], "big")
        parts.append(rest[4 : 4 + length])
        rest = rest[4 + length :] if len(rest) >= 4 + length else b"?"
    if rest or len(parts) != 3:
        raise Undecryptable("a wrapped data key is cut off or was changed")
    return parts[0], parts[1], parts[2]
