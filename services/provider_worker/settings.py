"""Settings of the provider worker."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from pydantic import Field

from keyferry.contracts.secret import Secret
from keyferry.runtime.process.settings import Networks, SecretFile, ServiceSettings, SettingsError, read_secret
from keyferry.sealing.framing import from_base64
from keyferry.sealing.private_keys import BadKeyFile, signing_key, verifying_key
from services.provider_worker.admission.limits import MAX_WAIT_MS, AdmissionLimits

K = TypeVar("K", Ed25519PrivateKey, Ed25519PublicKey)


class ProviderWorkerSettings(ServiceSettings):
    """Settings of a worker slot."""

    spool_dir: Path
    """Directory for unconfirmed attempts; each slot has its own."""
    egress_allow: Networks = ()
    """Private networks, comma-separated, that upstream calls may reach, such as a LAN's model servers."""
    identity_key_file: SecretFile | None = None
    """The Ed25519 private key (base64url) that this slot is enrolled with in the vault; without it no key can be leased."""
    vault_public_key_file: SecretFile | None = None
    """The vault's public signing key (Ed25519, base64url); deliveries that it did not sign are rejected."""
    content_public_key_file: SecretFile | None = None
    """The ledger's public content key (X25519, base64url), to which prompts and answers are sealed; without it none is stored."""
    max_attempts: int = Field(default=2000, ge=1)
    """Attempts that run at once; some more may wait for a moment, and the rest are refused."""
    max_waiting_attempts: int = Field(default=500, ge=0)
    max_wait_ms: int = Field(default=500, ge=0, le=MAX_WAIT_MS)
    """The longest time that an attempt waits for its start."""
    provider_share_percent: int = Field(default=40, ge=1, le=100)
    """Of the attempts that run at once, those of one provider or one tenant's server, while the worker has others too."""
    tenant_share_percent: int = Field(default=75, ge=1, le=100)
    """The same for the attempts of one tenant."""
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    first_byte_timeout_seconds: float = Field(default=60.0, gt=0)
    between_bytes_timeout_seconds: float = Field(default=60.0, gt=0)

    def admission_limits(self) -> AdmissionLimits:
        """Return the bounds of this process."""
        return AdmissionLimits(
            self.max_attempts,
            self.max_waiting_attempts,
            self.provider_share_percent,
            self.tenant_share_percent,
            self.max_wait_ms / 1000,
        )

    def check_files(self) -> None:
        """Check the key files. Raises SettingsError."""
        super().check_files()
        _ = self.identity_key(), self.vault_public_key(), self.content_public_key()

    def identity_key(self) -> Ed25519PrivateKey | None:
        """Return the key that this slot signs with. Raises SettingsError."""
        return None if self.identity_key_file is None else _read_key(self.identity_key_file, signing_key)

    def vault_public_key(self) -> Ed25519PublicKey | None:
        """Return the key that verifies the vault's signatures. Raises SettingsError."""
        file = self.vault_public_key_file
        return None if file is None else _read_key(file, lambda text: verifying_key(text.reveal()))

    def content_public_key(self) -> bytes | None:
        """Return the raw key to which content is sealed. Raises SettingsError."""
        file = self.content_public_key_file
        if file is None:
            return None
        try:
            return X25519PublicKey.from_public_bytes(from_base64(read_secret(file).reveal())).public_bytes_raw()
        except ValueError:
            raise SettingsError(
                f"{file} holds no public key: restore it from a backup, or have the launcher write it"
            ) from None


def _read_key(path: Path, parse: Callable[[Secret], K]) -> K:
    try:
        return parse(read_secret(path))
    except BadKeyFile as error:
        raise SettingsError(f"{path}: {error}. Restore it from a backup") from None
